"""SMAP's association on the GPU: whether a bundle can have it, and what it gives."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from smap_ros.association import AssociationConfig
from smap_ros.association.cuda import layout
from smap_ros.association.cuda.frame import DeviceFrame, Picture
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.engines import Engine
from smap_ros.errors import EngineError, InputError
from smap_ros.estimators.options import SmapConfig
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.smap.lifting import CM_PER_M, JOINTS, Float, LiftingConfig, Measured
from smap_ros.estimators.smap.maps import MapScales


def device_frame(
    manifest: SmapManifest,
    engine: Engine,
    config: SmapConfig,
    association: AssociationConfig,
    lifting: LiftingConfig,
    flip_test: bool,
) -> DeviceFrame | None:
    """The frame on the GPU, or None where it isn't wanted or, with ``auto``, can't be had.

    Why it can't be had is added to the engine's notes.

    Raises:
        EngineError: if it is wanted (``cuda``) and can't be had.
    """
    if config.association == "cpu" or (config.association == "auto" and engine.name != "tensorrt"):
        return None
    try:
        if engine.name != "tensorrt":
            raise EngineError(
                f"the network runs on {engine.name}, not on a GPU; set engine to tensorrt"
            )
        necks = config.necks and "neck_depth" in manifest.outputs
        return _made(manifest, engine, association, lifting, flip_test, necks)
    except (EngineError, InputError) as error:
        if config.association == "cuda":
            raise EngineError(f"association can't be cuda: {error}") from error
        engine.notes = (*engine.notes, f"association on the GPU: {error}")
        return None


def _made(
    manifest: SmapManifest,
    engine: Any,
    association: AssociationConfig,
    lifting: LiftingConfig,
    flip_test: bool,
    necks: bool,
) -> DeviceFrame:
    units = MapScales(manifest).units(flip_test)
    _, _, height, width = manifest.outputs["maps"].shape
    record = layout.parameters(
        (height, width),
        units,
        association,
        root=lifting.root,
        necks=necks,
        percentiles=lifting.percentiles,
    )
    spec, normaliser = manifest.input, Normaliser(manifest.input)
    picture = Picture(spec.name, spec.width * spec.height, normaliser.tables, normaliser.source)
    names = {of: manifest.outputs[of].name for of in units.outputs}
    return DeviceFrame(engine, picture, names, record)


def people_of(block: Any, outputs: Container[str], necks: bool = False) -> tuple[Float, Measured]:
    """People as :func:`smap_ros.association.associate` gives them, and what was measured of them.

    Args:
        block: from :meth:`DeviceFrame.run`.
        outputs: what the network tells.
        necks: those found from their necks, instead of those found from their pelvises.
    """
    first = int(block["people"])
    found = block["person"][first:][: int(block["necks"])] if necks else block["person"][:first]
    people = np.zeros((len(found), JOINTS, 4), np.float32)
    people[..., :2], people[..., 3] = found["joints"][..., :2], found["joints"][..., 2]
    told = found["pose"].reshape(-1, JOINTS, 3) / np.float32(CM_PER_M)
    return people, Measured(
        found["root_depth"].copy(),
        found["depth_cm"].copy(),
        told if ("neck_pose" if necks else "pose") in outputs else None,
        found["spread"].copy() if "depth_spread" in outputs else None,
    )
