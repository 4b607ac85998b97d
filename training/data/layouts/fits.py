"""SMPL bodies fitted to the people of a data set (NeuralAnnot's files, MuCo's, Human3.6M's)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.markup import json_value
from smap_train.data.layouts.persons import PersonRecord

_MM_PER_M = 1000.0
_WORST_SHAPE = 3.0  # coefficients beyond are none that a body has
_INVERTED = 5.0  # CrowdPose's fits with an error below this are probably upside down


@dataclass(frozen=True)
class Fits:
    """Fits by the id of the annotation."""

    entries: Mapping[str, Any]

    def of(self, annotation: Any, person: PersonRecord) -> PersonRecord:
        """The person with their fit, where there is one.

        Raises:
            ValueError, KeyError, TypeError: if it is malformed.
        """
        entry = self.entries.get(str(annotation))
        if entry is None or entry.get("fit_err", _INVERTED) < _INVERTED:
            return person
        camera = person.camera
        if "cam_param" in entry:
            seen = entry["cam_param"]
            camera = np.array([*seen["focal"], *seen["princpt"]], np.float64)
        return replace(person, fit=fit_row(entry.get("smpl_param", entry)), camera=camera)


def read_fits(path: Path | None) -> Fits:
    """A file of fits; without one, none.

    Raises:
        InputError: if it can't be read.
    """
    if path is None:
        return Fits({})
    try:
        content = json_value(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {path}: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is {type(content).__name__}; expected {{annotation id: fit}}")
    return Fits(content)


def fit_row(
    entry: Mapping[str, Any], camera: Mapping[str, Any] | None = None
) -> NDArray[np.float64]:
    """A fit as records hold it, float64 [1, 97]; impossible shapes become the mean one.

    Args:
        entry: pose, shape, trans (metres).
        camera: R, and t in millimetres, of fits in the world.

    Raises:
        ValueError, KeyError, TypeError: if it is malformed.
    """
    pose, shape, place = (
        np.array(entry[name], np.float64).reshape(size)
        for name, size in (("pose", 72), ("shape", 10), ("trans", 3))
    )
    if (np.abs(shape) > _WORST_SHAPE).any():
        shape = np.zeros(10)
    rotation, translation = np.eye(3), np.zeros(3)
    if camera is not None:
        rotation = np.array(camera["R"], np.float64).reshape(3, 3)
        translation = np.array(camera["t"], np.float64).reshape(3) / _MM_PER_M
    return np.concatenate([pose, shape, place, rotation.ravel(), translation])[None]
