"""People's surfaces from a serialised ``visualization_msgs/MarkerArray``.

A surface has tens of thousands of points. As Python objects they take 0.2 s a person to make;
read where they lie in the message, a millisecond.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Mesh
from smap_ros.errors import InputError

TRIANGLE_LIST, DELETE, DELETE_ALL = 11, 2, 3  # visualization_msgs/Marker
_BEGIN = 4  # bytes that say how the rest is serialised; what follows is aligned from there
_POINT = 24  # bytes: three doubles


@dataclass(frozen=True)
class Surfaces:
    """What a message says of people's surfaces.

    Attributes:
        corners: by marker id: float32 [3 T, 3], metres, three in a row a triangle.
        gone: ids of those that vanished.
        all_gone: whether all that were there before did.
        lifetimes: by marker id: seconds after which a surface that isn't said again vanishes;
            infinite where it stays.
    """

    corners: dict[int, NDArray[np.float32]]
    gone: tuple[int, ...] = ()
    all_gone: bool = False
    lifetimes: Mapping[int, float] = field(default_factory=dict)


def surfaces_from_markers(data: bytes) -> Surfaces:
    """The triangles of a MarkerArray.

    Args:
        data: the message as it comes over the wire or out of a bag (CDR).

    Raises:
        InputError: if it is cut off or is none.
    """
    try:
        return _read(_Cdr(data))
    except (struct.error, ValueError, IndexError) as error:
        raise InputError(
            f"{len(data)} bytes aren't a visualization_msgs/MarkerArray: {error}"
        ) from error


def welded(corners: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Which corners of triangles are one point.

    The answer holds for all surfaces of one model: only the places of the points change.

    Args:
        corners: float32 [3 T, 3].

    Returns:
        Indices of one corner for each point, int [V]; the triangles' points, int32 [T, 3].
    """
    _, first, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1, 3).astype(np.int32)


class Welder:
    """Makes meshes of triangles, finding out once for each size of them which corners are one."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[NDArray[np.intp], NDArray[np.int32]]] = {}

    def mesh(self, corners: NDArray[np.float32]) -> Mesh:
        """The surface of corners, float32 [3 T, 3]."""
        count = len(corners)
        if count not in self._known:
            if len(self._known) > 8:  # not of a model that always has the same
                self._known.clear()
            self._known[count] = welded(corners)
        first, faces = self._known[count]
        return Mesh(corners[first], faces)


def _read(cdr: _Cdr) -> Surfaces:
    corners: dict[int, NDArray[np.float32]] = {}
    lifetimes: dict[int, float] = {}
    gone: list[int] = []
    all_gone = False
    for _ in range(cdr.number()):
        identity, kind, action, lifetime, points = _marker(cdr)
        if action == DELETE_ALL:
            all_gone = True
        elif action == DELETE:
            gone.append(identity)
        elif kind == TRIANGLE_LIST:
            corners[identity] = points[: len(points) // 3 * 3]
            lifetimes[identity] = lifetime if lifetime > 0 else math.inf
    return Surfaces(corners, tuple(gone), all_gone, lifetimes)


def _marker(cdr: _Cdr) -> tuple[int, int, int, float, NDArray[np.float32]]:
    """Id, type, action, lifetime in seconds and points of the next marker."""
    _header(cdr)
    cdr.text()  # ns
    identity, kind, action = cdr.number(), cdr.number(), cdr.number()
    cdr.skip(8, 7 + 3)  # pose, scale
    cdr.skip(4, 4)  # color
    lifetime = cdr.number() + cdr.number() / 1e9
    cdr.skip(1, 1)  # frame_locked
    points = cdr.points()
    cdr.skip(4, 4 * cdr.number())  # colors
    cdr.text()  # texture_resource
    _header(cdr)  # texture
    cdr.text()
    cdr.skip(1, cdr.number())
    cdr.skip(4, 2 * cdr.number())  # uv_coordinates
    cdr.text()  # text
    cdr.text()  # mesh_resource
    cdr.text()  # mesh_file
    cdr.skip(1, cdr.number())
    cdr.skip(1, 1)  # mesh_use_embedded_materials
    return identity, kind, action, lifetime, points


def _header(cdr: _Cdr) -> None:
    cdr.skip(4, 2)  # stamp
    cdr.text()  # frame_id


class _Cdr:
    """Reads a message from its front (XCDR1, as ROS writes it)."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _BEGIN:
            raise ValueError("too short")
        self._data = data
        self._place = _BEGIN
        self._order = "<" if data[1] & 1 else ">"

    def number(self) -> int:
        """A whole number of 4 bytes."""
        self._align(4)
        (value,) = struct.unpack_from(f"{self._order}i", self._data, self._place)
        self._place += 4
        return int(value)

    def text(self) -> None:
        """A text, skipped."""
        self.skip(1, self.number())

    def points(self) -> NDArray[np.float32]:
        """Points, float32 [N, 3]."""
        count = self.number()
        if count:
            self._align(8)
        values = np.frombuffer(self._data, f"{self._order}f8", 3 * count, self._place)
        self._place += _POINT * count
        return values.reshape(-1, 3).astype(np.float32)

    def skip(self, size: int, count: int) -> None:
        """So many values of so many bytes."""
        if count < 0:
            raise ValueError(f"a length of {count}")
        if count:
            self._align(size)
        self._place += size * count
        if self._place > len(self._data):
            raise ValueError("cut off")

    def _align(self, size: int) -> None:
        self._place = _BEGIN + -(-(self._place - _BEGIN) // size) * size
