"""What is evaluated: the people that a bundle finds, or those of a bodies.json."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import Estimator
from smap_ros.results import read_bodies
from smap_ros.skeletons import MPI15, convert


class Picture(Protocol):
    """What people are found in."""

    @property
    def key(self) -> str | int:
        """Stem of the image file, or number of the frame in a clip."""

    @property
    def camera(self) -> Camera:
        """Its camera, at its size."""

    def image(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr."""


class Predictions(Protocol):
    """People by picture, all in mpi15.

    Attributes:
        description: for people to read.
    """

    description: str

    def of(self, picture: Picture) -> BodyFrame | None:
        """The people of a picture, or None if it wasn't looked at."""

    def close(self) -> None:
        """Release what is held; harmless when done twice."""


class BundlePredictions:
    """The people that an estimator finds in each picture."""

    def __init__(self, estimator: Estimator) -> None:
        self.description = estimator.description
        self._estimator = estimator

    def of(self, picture: Picture) -> BodyFrame:
        """Look at the picture."""
        return in_mpi15(self._estimator.estimate(picture.image(), picture.camera))

    def close(self) -> None:
        """Release the network."""
        self._estimator.close()


class FilePredictions:
    """The people of a ``bodies.json``.

    Pictures are found by the stem of their source file, frames of clips by their number.

    Raises:
        InputError: if the file is unreadable or malformed.
    """

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._by_stem: dict[str, list[BodyFrame]] = defaultdict(list)
        self._by_index: dict[int, list[BodyFrame]] = defaultdict(list)
        for frame in read_bodies(path):
            self._by_stem[Path(frame.source).stem].append(frame)
            self._by_index[frame.index].append(frame)

    def of(self, picture: Picture) -> BodyFrame | None:
        """Look the picture up.

        Raises:
            InputError: if several frames could be meant, or it was of another size.
        """
        key = picture.key
        frames = self._by_index.get(key) if isinstance(key, int) else self._by_stem.get(key)
        if not frames:
            return None
        if len(frames) > 1:
            raise InputError(
                f"{self.description} has {len(frames)} frames for picture {key}; expected one. "
                "Evaluate the result of one input at a time"
            )
        _check_size(frames[0].camera, picture, self.description)
        return frames[0]

    def close(self) -> None:
        """Nothing is held."""


def open_predictions(spec: str, engine: str = "auto", threads: int = 0) -> Predictions:
    """A ``bodies.json`` (anything that ends in ``.json``), or else a bundle by name or path.

    Args:
        spec: what the user names.
        engine, threads: for a bundle; see :func:`smap_ros.estimators.create_estimator`.

    Raises:
        SmapError: if it can't be read or run.
    """
    path = Path(spec)
    if path.suffix == ".json":
        return FilePredictions(path)
    return BundlePredictions(create_estimator(spec, engine, threads))


def in_mpi15(frame: BodyFrame) -> BodyFrame:
    """The frame with everybody's joints in mpi15."""
    return frame.with_bodies(tuple(_converted(body) for body in frame))


def _check_size(camera: Camera, picture: Picture, source: str) -> None:
    true = picture.camera
    if (camera.width, camera.height) != (true.width, true.height):
        raise InputError(
            f"{source} has picture {picture.key} at {camera.width}x{camera.height} px, its truth "
            f"at {true.width}x{true.height} px; estimate on the pictures as they are"
        )


def _converted(body: Body) -> Body:
    if body.skeleton.name == MPI15.name:
        return body
    scores = convert(body.scores[:, None], body.skeleton, MPI15)[:, 0]
    return replace(
        body,
        joints_3d=convert(body.joints_3d, body.skeleton, MPI15),
        joints_2d=convert(body.joints_2d, body.skeleton, MPI15),
        scores=np.nan_to_num(scores),
        skeleton=MPI15,
    )
