"""Checks of a bundle by its estimator: its kind, and networks that the kind fixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_args

from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest import Manifest
from smap_ros.engines import Engine
from smap_ros.errors import BundleError

Kind = TypeVar("Kind", bound=Manifest)


def manifest_of(bundle: Bundle, schema: type[Kind]) -> Kind:
    """A bundle's manifest, as one of the kind that an estimator runs.

    Raises:
        BundleError: if the bundle is of another kind.
    """
    if not isinstance(bundle.manifest, schema):
        (kind,) = get_args(schema.model_fields["kind"].annotation)
        raise BundleError(f"bundle {bundle.name!r} is of kind {bundle.kind!r}; expected {kind}")
    return bundle.manifest


def check_network(
    bundle: Bundle,
    role: str,
    engine: Engine,
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
) -> None:
    """Refuse a network that doesn't take and give what the estimator hands on.

    Args:
        bundle: whose network it is.
        role: of its file in the manifest.
        engine: the network, loaded.
        inputs: shapes by name of all its inputs, float32.
        outputs: shapes by name of the outputs that are used, float32.

    Raises:
        BundleError: saying what it has and what is expected.
    """
    got = {spec.name: spec for spec in (*engine.inputs, *engine.outputs)}
    wrong = [
        f"{name} {list(shape)}"
        for name, shape in {**inputs, **outputs}.items()
        if name not in got or not got[name].accepts(shape) or got[name].dtype != "float32"
    ]
    if wrong or {spec.name for spec in engine.inputs} != set(inputs):
        raise BundleError(
            f"the {role} network of bundle {bundle.name!r} has {', '.join(map(str, got.values()))}"
            f"; expected float32 {', '.join(wrong) or 'inputs ' + ', '.join(inputs)}. Its files "
            "don't belong together; export the bundle again"
        )
