"""MATLAB files, read with scipy, which only the protocols that have such files need."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from smap_ros.errors import InputError


def read_mat(path: Path, *variables: str) -> dict[str, Any]:
    """The variables of a ``.mat`` file (up to version 7; cells are object arrays).

    Args:
        path: the file.
        variables: that must be in it.

    Raises:
        InputError: if scipy is not installed, or the file is missing, damaged, or lacks one.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise InputError(
            f"reading {path.name} needs scipy: pip install 'smap-ros[evaluate]'"
        ) from error
    if not path.is_file():
        raise InputError(f"{path} is missing; expected a MATLAB file with {_names(variables)}")
    try:
        with warnings.catch_warnings():
            # Of two variables of one name, scipy keeps the last and only warns.
            warnings.filterwarnings("error", message="Duplicate variable name")
            content: dict[str, Any] = loadmat(path)
    except Exception as error:  # damaged files fail in many ways, HDF5 ones in their own
        raise InputError(
            f"{path} can't be read as a MATLAB file of version 7 or older "
            f"({type(error).__name__}: {error}); copy it again, or save it with -v7"
        ) from error
    missing = [name for name in variables if name not in content]
    if missing:
        raise InputError(f"{path} has no variable {_names(missing)}")
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _names(variables: tuple[str, ...] | list[str]) -> str:
    return ", ".join(variables) or "results by picture"
