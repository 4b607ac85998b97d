"""People as a bundle found them beside who they are, in memory and in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.estimators.smap.lifting import CM_PER_M, Lifted
from smap_ros.estimators.smap.refining import refine_input
from smap_ros.skeletons import MPI15
from smap_train.files import read_arrays, whole_file
from smap_train.refining.origin import who_found

Float = NDArray[np.float32]
ROOT = MPI15.root

_REACH = 2.0  # metres
_FARTHEST = 1000.0  # metres, of a person
_FORMAT = "smap_ros found people 1"
_SHAPES = {
    "found": (15, 3), "true": (15, 3), "pixels": (15, 2), "true_pixels": (15, 2),
    "scores": (15,), "focal": (), "poses": (15, 3),
}  # fmt: skip


@dataclass(frozen=True)
class FoundPeople:
    """People as a bundle saw them and as they are. M people, metres, network pixels.

    Attributes:
        found: float32 [M, 15, 3], optical frame; NaN where missing.
        true: float32 [M, 15, 3].
        pixels: float32 [M, 15, 2], where the joints were found; NaN where missing.
        true_pixels: float32 [M, 15, 2].
        scores: float32 [M, 15], 0 where missing.
        focal: float32 [M], network pixels.
        size: width and height of the network's input.
        poses: float32 [M, 15, 3], as in :class:`~smap_ros.estimators.smap.lifting.Lifted`; None
            from a bundle that tells none.
        found_by: hash of the bundle's network that sees the image; empty where unknown.
    """

    found: Float
    true: Float
    pixels: Float
    true_pixels: Float
    scores: Float
    focal: Float
    size: tuple[int, int]
    poses: Float | None = None
    found_by: str = ""

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, rows: NDArray[np.integer]) -> FoundPeople:
        return replace(self, **{name: column[rows] for name, column in self._columns().items()})

    def _columns(self) -> dict[str, Float]:
        return {name: c for name in _SHAPES if (c := getattr(self, name)) is not None}

    @classmethod
    def join(cls, parts: Sequence[FoundPeople]) -> FoundPeople:
        """All people of several sets of the same bundle."""
        columns = [part._columns() for part in parts]
        joined = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
        return replace(parts[0], **joined)

    def inputs(self) -> Float:
        """What RefineNet is fed, float32 [M, 90], or with poses [M, 135]."""
        return refine_input(self.lifted(), scores=True, poses=self.poses is not None)

    def lifted(self) -> Lifted:
        """As the estimator has people before they are refined; of pixels, the network's."""
        return Lifted(
            joints_3d=self.found,
            joints_2d=self.pixels,
            scores=self.scores,
            joints_network=np.nan_to_num(self.pixels),
            index=np.arange(len(self)),
            poses=self.poses,
        )

    def targets(self) -> Float:
        """Root-relative truth, and how far off the root was found; float32 [M, 45], centimetres."""
        relative = self.true - self.true[:, ROOT, None]
        relative[:, ROOT] = self.true[:, ROOT] - self.found[:, ROOT]
        return (relative * CM_PER_M).reshape(len(self), 45).astype(np.float32)

    def true_poses(self) -> Float:
        """What the pelvises should tell, float32 [M, 15, 3]."""
        return told(self.true, self.true_pixels, self.focal)

    def save(self, path: Path) -> None:
        """Write a file that :func:`read_found` reads.

        Raises:
            InputError: if it can't be written.
        """
        with whole_file(path, "the people") as file:
            np.savez_compressed(
                file,
                format=_FORMAT,
                size=np.array(self.size),
                found_by=np.array([self.found_by]),
                **self._columns(),
            )


def read_found(path: Path) -> FoundPeople:
    """The people that `smap-train pairs` wrote.

    Raises:
        InputError: if the file can't be read, isn't such a file, or holds what can't be.
    """
    expected = "expected NAME.npz as `smap-train pairs` writes it"
    data = read_arrays(path, _FORMAT, "people", expected)
    return _checked(path, data, expected)


def _checked(path: Path, data: Mapping[str, NDArray[Any]], expected: str) -> FoundPeople:
    """People of a file whose columns fit each other and have places."""
    count = len(np.atleast_1d(data.get("focal", ())))
    for name, shape in _SHAPES.items():
        wanted = (count, *shape)
        if name == "poses" and name not in data:
            continue
        if name not in data or data[name].shape != wanted or data[name].dtype != np.float32:
            got = f"{data[name].dtype}{data[name].shape}" if name in data else "missing"
            raise InputError(f"{path}: {name} is {got}, expected float32{wanted}; {expected}")
    if not count:
        raise InputError(f"{path} holds nobody")
    for name, numbers in (
        ("true", data["true"]), ("found, roots", data["found"][:, ROOT]), ("focal", data["focal"])
    ):  # fmt: skip
        if not np.isfinite(numbers).all():
            row = int(np.argwhere(~np.isfinite(numbers))[0, 0])
            raise InputError(f"{path}: {name} of person {row} is no number; write the file anew")
    size = np.atleast_1d(data.get("size", ()))
    if size.shape != (2,) or not np.issubdtype(size.dtype, np.integer) or size.min() <= 0:
        raise InputError(f"{path}: size is {size.tolist()}, expected width and height; {expected}")
    for name, least, most in (
        ("scores", 0, 1), ("focal", 1, 1e5), ("true", -_FARTHEST, _FARTHEST)
    ):  # fmt: skip
        wrong = ~((data[name] >= least) & (data[name] <= most))
        if wrong.any():
            place = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise InputError(
                f"{path}: {name} of person {place[0]} is {data[name][place]:g}; expected "
                f"{least:g} to {most:g}"
            )
    width, height = (int(n) for n in size)
    return FoundPeople(
        **{name: data[name] for name in _SHAPES if name in data},
        size=(width, height),
        found_by=who_found(data),
    )


def told(joints: Float, pixels: Float, focal: Float) -> Float:
    """Joints [M, 15, 3] and where they are seen as a pelvis tells them, float32 [M, 15, 3].

    Joints beside the camera, which are seen anywhere, are kept within reach of the pelvis.
    """
    ratio = joints[:, ROOT, 2] / focal
    plane = np.clip((pixels - pixels[:, ROOT, None]) * ratio[:, None, None], -_REACH, _REACH)
    depth = joints[..., 2:] - joints[:, ROOT, None, 2:]
    return np.concatenate([plane, depth], axis=-1).astype(np.float32)
