"""Films of people as a detector saw them, beside the truth: what smoothers are judged by.

A film is one file (``.npz``), written by ``smap-train record``: detections and true people of
every picture, without the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import DAMAGED_ARRAYS, InputError, reason
from smap_ros.skeletons import MPI15

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Film:
    """People over the T pictures of a film; D detections and P true people in all.

    Attributes:
        stamps: float64 [T], seconds, ascending.
        camera: float64 [6]: fx, fy, cx, cy, width, height, pixels; the same in all pictures.
        frame: int64 [D], picture of each detection.
        joints_3d, joints_2d, scores, score: float32 [D, 15, 3], [D, 15, 2], [D, 15], [D], as of
            :class:`~smap_ros.bodies.Body`.
        true_frame, true_id: int64 [P], picture and identity of each true person.
        true_3d, true_2d: float32 [P, 15, 3], [P, 15, 2].
        counted: bool [P], who must be found
            (:attr:`smap_ros.evaluation.common.scenes.Scene.counted`).
        detector: sha256 of the network that saw the pictures.
        colours: float32 [D, 2, 3], mean bgr of torso and thighs in [0, 255]; NaN where unseen.
        size_px: float32 [P], longer side of each true person's box in the picture.
    """

    stamps: NDArray[np.float64]
    camera: NDArray[np.float64]
    frame: NDArray[np.int64]
    joints_3d: Float
    joints_2d: Float
    scores: Float
    score: Float
    true_frame: NDArray[np.int64]
    true_id: NDArray[np.int64]
    true_3d: Float
    true_2d: Float
    counted: NDArray[np.bool_]
    detector: str
    colours: Float = field(default_factory=lambda: np.zeros((0, 2, 3), np.float32))
    size_px: Float = field(default_factory=lambda: np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def view(self) -> Camera:
        """The camera."""
        fx, fy, cx, cy, width, height = map(float, self.camera)
        return Camera(int(width), int(height), fx, fy, cx, cy)

    def detections(self, picture: int) -> list[Body]:
        """The people found in a picture."""
        return [
            Body(self.joints_3d[k], self.joints_2d[k], self.scores[k], float(self.score[k]))
            for k in np.flatnonzero(self.frame == picture)
        ]

    def truth(self, picture: int) -> list[Body]:
        """The true people of a picture; all their joints count as seen."""
        seen = np.ones(len(MPI15), np.float32)
        return [
            Body(self.true_3d[k], self.true_2d[k], seen, 1.0, int(self.true_id[k]))
            for k in np.flatnonzero(self.true_frame == picture)
        ]

    def save(self, path: Path) -> None:
        """Write the film; it appears under its name only when complete."""
        partial = path.with_name(f".{path.stem}.part.npz")
        np.savez_compressed(partial, **vars(self))
        partial.replace(path)


def make_film(
    found: Sequence[BodyFrame],
    true: Sequence[BodyFrame],
    counted: Sequence[NDArray[np.bool_]],
    detector: str,
    **more: Any,
) -> Film:
    """A film of the people found in its pictures, and the true ones, picture by picture.

    Args:
        found, true: of each picture, in order of time; stamps and camera are those of the truth.
        counted: bool [people] of each picture.
        detector, more: as in :class:`Film`.
    """
    camera = true[0].camera
    seen = [body for frame in found for body in frame]
    people = [body for frame in true for body in frame]
    joints = len(MPI15)
    return Film(
        stamps=np.array([frame.stamp for frame in true]),
        camera=np.array(
            [camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height], np.float64
        ),
        frame=np.repeat(np.arange(len(found)), [len(frame) for frame in found]),
        joints_3d=_stack([body.joints_3d for body in seen], (joints, 3)),
        joints_2d=_stack([body.joints_2d for body in seen], (joints, 2)),
        scores=_stack([body.scores for body in seen], (joints,)),
        score=np.array([body.score for body in seen], np.float32),
        true_frame=np.repeat(np.arange(len(true)), [len(frame) for frame in true]),
        true_id=np.array([-1 if body.id is None else body.id for body in people], np.int64),
        true_3d=_stack([body.joints_3d for body in people], (joints, 3)),
        true_2d=_stack([body.joints_2d for body in people], (joints, 2)),
        counted=np.concatenate([*counted, np.zeros(0, np.bool_)]).astype(np.bool_),
        detector=detector,
        **more,
    )


def read_film(path: Path) -> Film:
    """Read a film.

    Raises:
        InputError: if it is unreadable or no film.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {f.name: file[f.name] for f in fields(Film)}
    except DAMAGED_ARRAYS as error:
        raise InputError(
            f"{path} is no film of detections ({reason(error)}); expected a file of `smap-train "
            "record`"
        ) from error
    return Film(**{**data, "detector": str(data["detector"])})


def read_films(folder: Path) -> list[Film]:
    """The films of a folder, by name.

    Raises:
        InputError: if there is none, or one is damaged.
    """
    return [read_film(path) for path in film_paths(folder)]


def film_paths(folder: Path) -> list[Path]:
    """The files of the films of a folder, by name.

    Raises:
        InputError: if there is none.
    """
    paths = sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))
    if not paths:
        raise InputError(f"{folder} has no films; expected the *.npz of `smap-train record`")
    return paths


def _stack(arrays: Sequence[Float], shape: tuple[int, ...]) -> Float:
    return np.stack(arrays) if arrays else np.zeros((0, *shape), np.float32)
