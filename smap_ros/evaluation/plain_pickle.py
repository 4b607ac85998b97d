"""Pickles of data sets, read without running code that they may hold."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError


def read_plain_pickle(path: Path) -> Any:
    """A pickle of numpy arrays, numbers, text, lists, tuples, sets and dictionaries.

    Pickles of Python 2 are read with their byte strings as latin-1 text.

    Raises:
        InputError: if the file is missing or damaged, or holds anything else: loading that would
            run code.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as error:
        raise InputError(
            f"{path} is refused: it holds pickled Python code ({error}), which would run on "
            "loading. Expected only numpy arrays and plain data; fetch it from its source again"
        ) from error
    except Exception as error:  # damaged pickles can fail in any way
        raise InputError(
            f"{path} can't be read as a pickle ({type(error).__name__}: {error}); copy it again"
        ) from error


class _RefusedError(Exception):
    """A name that a pickle of plain data has no need of."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 stores bytes."""
    if encoding != "latin1":
        raise _RefusedError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


def _array(kind: Any, shape: Any, code: Any) -> Any:
    """``numpy._reconstruct`` for plain arrays alone."""
    if kind is not np.ndarray:
        raise _RefusedError(f"an array of {kind!r}")
    return np.ndarray(shape, code)


def _scalar(dtype: Any, data: Any = None) -> Any:
    """``numpy.core.multiarray.scalar`` for plain numbers alone."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(data, (bytes, str)):
        raise _RefusedError(f"a scalar of {dtype!r}")
    content = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(content, dtype, 1)[0]


def _buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    """``numpy.core.numeric._frombuffer`` for plain numbers alone."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _RefusedError(f"an array of {dtype!r}")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_ADMITTED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _array for module in _NUMPY},
    **{(module, "scalar"): _scalar for module in _NUMPY},
    ("numpy.core.numeric", "_frombuffer"): _buffer,
    ("numpy._core.numeric", "_frombuffer"): _buffer,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("__builtin__", "complex"): complex,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
}


class _PlainUnpickler(pickle.Unpickler):
    """Admits what arrays and numbers of numpy are made of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _RefusedError(f"{module}.{name}")
        return _ADMITTED[module, name]
