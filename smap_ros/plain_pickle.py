"""Pickles of other people, read without running code that they may hold."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError


class Stored:
    """What a pickle says of an object whose class is not wanted: its attributes, by name."""

    attributes: dict[str, Any]

    def __new__(cls, *_: Any) -> Stored:
        """An object without attributes, whatever its class would be made of."""
        stored = super().__new__(cls)
        stored.attributes = {}
        return stored

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


StandIn = Callable[[str, str], type[Stored] | None]


def read_plain_pickle(path: Path, stand_in: StandIn | None = None) -> Any:
    """A pickle of numpy arrays, numbers, text, lists, tuples, sets and dictionaries.

    Pickles of Python 2 are read with their byte strings as latin-1 text; of a numpy file (.npy)
    of objects, the pickle in it.

    Args:
        path: the file.
        stand_in: for objects of other classes: what to read those of a module and name as, or
            None to refuse them.

    Raises:
        InputError: if the file is missing or damaged, or holds anything else: loading that would
            run code.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    try:
        return _PlainUnpickler(data[_header_size(data) :], stand_in).load()
    except _RefusedError as error:
        raise InputError(
            f"{path} is refused: it holds pickled Python code ({error}), which would run on "
            "loading. Expected only numpy arrays and plain data; fetch it from its source again"
        ) from error
    except Exception as error:  # damaged pickles can fail in any way
        raise InputError(
            f"{path} can't be read as a pickle ({type(error).__name__}: {error}); copy it again"
        ) from error


def _header_size(data: bytes) -> int:
    """Bytes before the pickle: the header of a numpy file, or none."""
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        return 0
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) == (1, 0):
        np.lib.format.read_array_header_1_0(file)
    else:
        np.lib.format.read_array_header_2_0(file)
    return file.tell()


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


def _rebuild(kind: Any, base: Any, _: Any) -> Stored:
    """``copyreg._reconstructor`` for the stand-ins alone."""
    if not (isinstance(kind, type) and issubclass(kind, Stored) and base is object):
        raise _RefusedError(f"an object of {kind!r}")
    return kind()


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


# What objects are made of, besides; "copy_reg" and "__builtin__" were written by Python 2.
_OBJECTS: dict[tuple[str, str], Any] = {
    ("copyreg", "_reconstructor"): _rebuild,
    ("copy_reg", "_reconstructor"): _rebuild,
    ("builtins", "object"): object,
    ("__builtin__", "object"): object,
}


class _PlainUnpickler(pickle.Unpickler):
    """Admits what arrays and numbers of numpy are made of, and stand-ins for other objects."""

    def __init__(self, data: bytes, stand_in: StandIn | None) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._stand_in = stand_in

    def find_class(self, module: str, name: str) -> Any:
        found = _ADMITTED.get((module, name))
        if found is None and self._stand_in is not None:
            found = _OBJECTS.get((module, name)) or self._stand_in(module, name)
        if found is None:
            raise _RefusedError(f"{module}.{name}")
        return found
