"""What all models share that look at people whom another bundle finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.bundle import Bundle, load_bundle
from smap_ros.engines import Engine, create_engine
from smap_ros.engines.base import Precision
from smap_ros.errors import BundleError
from smap_ros.estimators.base import INFERRED_SCORE, Estimator
from smap_ros.estimators.factory import create_estimator
from smap_ros.manifest import MANIFEST, Manifest
from smap_ros.skeletons import MPI15, convert

Config = TypeVar("Config")


class SecondStage:
    """An estimator that has a network of its own behind another estimator."""

    _manifest: Manifest
    _engine: Engine
    _first_stage: Estimator

    @property
    def description(self) -> str:
        """Bundle, first stage, engine and device."""
        manifest = self._manifest
        first = self._first_stage.description.partition(" on ")[0]
        engine = f"{self._engine.name} ({self._engine.device})"
        return f"{manifest.name} {manifest.version} after {first} on {engine}"

    def close(self) -> None:
        """Release both stages; harmless when done twice."""
        self._engine.close()
        self._first_stage.close()


def split_options(
    schema: type[Config], options: Mapping[str, Any]
) -> tuple[Config, dict[str, Any]]:
    """A second stage's settings, and the options that are the first stage's.

    Args:
        schema: a data class; options that are not fields of it are for the first stage.
        options: by name.

    Raises:
        InputError: if one of its own is out of range.
    """
    own = {f.name for f in fields(schema)}  # type: ignore[arg-type]
    settings = schema(**{name: value for name, value in options.items() if name in own})
    return settings, {name: value for name, value in options.items() if name not in own}


def open_stages(
    bundle: Bundle,
    first_stage: str,
    stated: str | None,
    engine: str,
    threads: int,
    precision: Precision,
    **options: object,
) -> tuple[Engine, Estimator]:
    """Load a bundle's network and what finds the people for it.

    Args:
        bundle: of the network that looks at people.
        first_stage: name of the bundle that finds them, as the manifest says.
        stated: name or path that takes its place, or None.
        engine, threads, precision: see :func:`smap_ros.engines.create_engine`; of both.
        options: of the first stage's estimator.

    Raises:
        BundleError, EngineError, InputError: as :func:`smap_ros.estimators.create_estimator`.
    """
    first_bundle = first_stage_bundle(bundle, first_stage, stated)
    network = create_engine(bundle, engine, threads, precision)
    try:
        return network, create_estimator(first_bundle, engine, threads, precision, **options)
    except Exception:
        network.close()
        raise


def first_stage_bundle(bundle: Bundle, first_stage: str, stated: str | None) -> Bundle:
    """The bundle that finds the people: as stated, else beside this one, else a shipped one.

    Raises:
        BundleError: if there is none, or it needs a first stage itself.
    """
    beside = bundle.folder.parent / first_stage
    found = beside if (beside / MANIFEST).is_file() else first_stage
    first = load_bundle(found if stated is None else stated)
    if hasattr(first.manifest, "first_stage"):
        raise BundleError(
            f"bundle {first.name!r} can't find people for bundle {bundle.name!r}: it is of kind "
            f"{first.kind!r} and needs a first stage too; choose one that looks at whole images, "
            "like smap_lite"
        )
    return first


def inherited_scores(person: Body, placed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scores of joints from a network that says nothing of its certainty.

    Args:
        person: as the first stage found it.
        placed: bool [15], joints of mpi15 that the network gives.

    Returns:
        float32 [15]: the first stage's, ``INFERRED_SCORE`` where it did not see the joint, 0
        where none is given.
    """
    seen = np.nan_to_num(convert(person.scores[:, None], person.skeleton, MPI15)[:, 0])
    scores = np.where(placed, np.where(seen > 0, seen, INFERRED_SCORE), 0)
    return scores.astype(np.float32)
