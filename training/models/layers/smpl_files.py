"""The user's own SMPL files, read without running code that they may hold.

The body model's licence forbids passing it on, so each user puts the files into a folder:

- ``SMPL_NEUTRAL.pkl``: the neutral body, from https://smplify.is.tue.mpg.de (there named
  ``basicModel_neutral_lbs_10_207_0_v1.0.0.pkl``); or ``SMPL_NEUTRAL.npz`` with the same arrays;
- ``J_regressor_extra.npy``, ``J_regressor_h36m.npy``, ``smpl_mean_params.npz``: from the data
  archive of SPIN (https://github.com/nkolot/SPIN).

The pickle needs neither chumpy nor scipy here: what it says of their objects is kept as plain
data, and anything else but numpy arrays is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_ros.errors import DAMAGED_ARRAYS, InputError
from smap_ros.plain_pickle import Stored, read_plain_pickle
from smap_train.models.layers.smpl import JOINTS, PARENTS, SHAPES, VERTICES, SmplBody

BODY_FILES = ("SMPL_NEUTRAL.npz", "SMPL_NEUTRAL.pkl")
EXTRA_FILE, H36M_FILE = "J_regressor_extra.npy", "J_regressor_h36m.npy"
MEAN_FILE = "smpl_mean_params.npz"

_SPIN = "part of the data archive of SPIN (https://github.com/nkolot/SPIN)"
_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table")


def load_smpl(path: Path) -> SmplBody:
    """Read the neutral SMPL body.

    Args:
        path: the ``.pkl`` or ``.npz`` file, or the folder it lies in under its usual name.

    Raises:
        InputError: if it isn't there (the text says what goes where), is damaged, holds code,
            or is no SMPL body of 24 joints.
    """
    file = _body_file(path)
    try:
        content = _read_npz(file) if file.suffix == ".npz" else _read_pickle(file)
        missing = [key for key in _KEYS if key not in content]
        if missing:
            raise InputError(f"{file} is no SMPL body: it lacks {', '.join(missing)}")
        arrays = {key: _dense(content[key], key) for key in _KEYS}
    except InputError:
        raise
    except Exception as error:  # damaged archives can fail in any way
        raise InputError(
            f"{file} can't be read as an SMPL body ({type(error).__name__}: {error}). Fetch it "
            "again and compare its size"
        ) from error
    parents = arrays["kintree_table"][0]
    if not np.array_equal(parents[1:], PARENTS[1:]):
        raise InputError(f"{file} has {parents.size} joints or other bones; expected SMPL's 24")
    return SmplBody(
        v_template=arrays["v_template"],
        shapedirs=arrays["shapedirs"][..., :SHAPES],  # some files have 300
        posedirs=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"],
        weights=arrays["weights"],
        faces=arrays["f"].astype(np.int64),
    )


def load_joint_regressor(path: Path, rows: int) -> NDArray[np.floating]:
    """Read a regressor of joints from vertices.

    Args:
        path: ``J_regressor_extra.npy`` (9 rows) or ``J_regressor_h36m.npy`` (17 rows).
        rows: how many joints it must have.

    Returns:
        [rows, 6890].

    Raises:
        InputError: if it isn't there, or is no such array.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: put {path.name} there, {_SPIN}")
    try:
        array = np.load(path, allow_pickle=False)
    except DAMAGED_ARRAYS as error:
        raise InputError(f"{path} can't be read as a numpy array: {error}") from error
    if not isinstance(array, np.ndarray) or array.shape != (rows, VERTICES):
        got = array.shape if isinstance(array, np.ndarray) else "an archive"
        raise InputError(f"{path}: got {got}, expected an array of shape {(rows, VERTICES)}")
    return array


def load_mean_parameters(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Read where the iterative regressor starts: pose 6D [144], shape [10], camera [3].

    Raises:
        InputError: if ``smpl_mean_params.npz`` isn't there, or lacks an array.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: put {path.name} there, {_SPIN}")
    sizes = {"pose": 6 * JOINTS, "shape": SHAPES, "cam": 3}
    try:
        content = _read_npz(path)
    except DAMAGED_ARRAYS as error:
        raise InputError(f"{path} can't be read as a numpy archive: {error}") from error
    got = {name: np.shape(content.get(name)) for name in sizes}
    if got != {name: (size,) for name, size in sizes.items()}:
        raise InputError(f"{path}: got {got}, expected arrays of {sizes} numbers")
    pose, shape, camera = (torch.tensor(content[name], dtype=torch.float32) for name in sizes)
    return pose, shape, camera


def _body_file(path: Path) -> Path:
    candidates = [path / name for name in BODY_FILES] if path.is_dir() else [path]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None or found.suffix not in (".pkl", ".npz"):
        raise InputError(
            f"no SMPL body at {path}: put {' or '.join(BODY_FILES)} there. The neutral body is "
            "licensed to you personally at https://smplify.is.tue.mpg.de: rename "
            "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl to SMPL_NEUTRAL.pkl"
        )
    return found


def _read_npz(file: Path) -> Mapping[str, Any]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_pickle(file: Path) -> Mapping[str, Any]:
    content = read_plain_pickle(file, _stand_in)
    if not isinstance(content, dict):
        raise InputError(f"{file} is no SMPL body: got {type(content).__name__}, expected a dict")
    return content


class _ChumpyArray(Stored):
    """A chumpy array: its values are attribute ``x``."""


class _SparseColumns(Stored):
    """A scipy matrix in compressed-column form."""


def _stand_in(module: str, name: str) -> type[Stored] | None:
    package = module.partition(".")[0]
    if package == "chumpy":
        return _ChumpyArray
    if package == "scipy" and name in ("csc_matrix", "csc_array"):
        return _SparseColumns
    return None


def _dense(value: Any, key: str) -> NDArray[Any]:
    """A stored value as a plain array of numbers."""
    if isinstance(value, _ChumpyArray):
        value = value.attributes.get("x")
    if isinstance(value, _SparseColumns):
        value = _from_columns(value.attributes)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise InputError(f"SMPL body: {key} is not an array of numbers; got {type(value).__name__}")
    return value


def _from_columns(stored: Mapping[str, Any]) -> NDArray[np.float64]:
    """A compressed-column matrix written out."""
    rows, columns = stored["_shape"]
    if (rows, columns) != (JOINTS, VERTICES):
        raise InputError(f"SMPL body: a sparse matrix of {rows} x {columns}, expected 24 x 6890")
    counts = np.diff(stored["indptr"])
    dense = np.zeros((rows, columns))
    dense[stored["indices"], np.repeat(np.arange(columns), counts)] = stored["data"]
    return dense
