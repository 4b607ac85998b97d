"""Pseudo labels of people who are labelled already, by one of BlazePose's landmark networks.

MediaPipe publishes three, in its npm package @mediapipe/pose; OpenVINO runs them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.errors import InputError, reason
from smap_ros.estimators.second_look.region import Region, region_around
from smap_ros.evaluation.views.truth import Labelled, read_labelled
from smap_train.files import whole_file
from smap_train.models.landmarks import EXACT, LANDMARKS, MARGIN, OUTPUTS, POINTS, SIZE

Points = NDArray[np.floating]

_TOLD = ("landmarks", "presence", "world")
_SHAPES = [[1, SIZE, SIZE, 3], [1, 5 * POINTS], [1, 1], [1, 3 * POINTS]]
_PAIRS = [(1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((k, k + 1) for k in range(11, LANDMARKS, 2))]
_MIRRORED = np.arange(LANDMARKS)
_MIRRORED[np.array(_PAIRS)] = np.array(_PAIRS)[:, ::-1]


def convert_labelled(labels: Path, out: Path, network: Path) -> tuple[int, int]:
    """Label the people of photos who are labelled already, in squares about their joints.

    Args:
        labels: archive that ``lspet`` wrote, or earlier pseudo labels beside their archive.
        out: ``.npz`` to write, as ``pseudo``'s: the mean of what the network tells of a square and
            of its mirror image.
        network: ``pose_landmark_heavy.tflite``, ``_full`` or ``_lite``.

    Returns:
        How many photos, and in how many the person could be looked at.

    Raises:
        InputError: if labels or photos can't be read, nobody is labelled, or the network is
            another.
    """
    people, looks = read_labelled(labels), LandmarkNetwork(network)
    if not people:
        raise InputError(f"{labels} labels nobody well enough; expected people with nine joints")
    landmarks = np.full((len(people), LANDMARKS, 3), np.nan, np.float16)
    world = landmarks.copy()
    for k, person in enumerate(tqdm(people, unit="photo")):
        region = region_around(person.joints_2d, MARGIN, SIZE)
        if region is not None:
            landmarks[k], world[k] = looks.twice(person.image(), region)
    with whole_file(out) as file:
        names = _names(labels, people)
        np.savez_compressed(file, names=names, landmarks=landmarks, world_m=world)
    return len(people), int(np.isfinite(world[:, 0, 0]).sum())


def _names(labels: Path, people: list[Labelled]) -> NDArray[np.str_]:
    """Of photos, as the labels have them: earlier pseudo labels leave a folder of theirs out."""
    names = [person.name for person in people]
    prefix = ""
    if labels.suffix == ".npz":
        with np.load(labels) as earlier:
            given = [str(name) for name in earlier["names"]]
        prefix = next(names[0].removesuffix(name) for name in given if names[0].endswith(name))
    return np.array([name.removeprefix(prefix) for name in names])


class LandmarkNetwork:
    """One of BlazePose's landmark networks as MediaPipe publishes them.

    Args:
        path: the ``.tflite`` file.

    Raises:
        InputError: if it can't be read, or is another network.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._network = openvino.Core().compile_model(path, "CPU", EXACT)
            told = (
                self._network.input(0).shape,
                *(self._network.output(OUTPUTS[role]).shape for role in _TOLD),
            )
        except RuntimeError as error:
            raise InputError(
                f"can't read {path}: {_last_line(error)}; expected pose_landmark_heavy.tflite, of "
                "the npm package @mediapipe/pose"
            ) from error
        if [list(shape) for shape in told] != _SHAPES:
            raise InputError(f"{path} has inputs and outputs of {told}; expected {_SHAPES}")

    def __call__(self, crop: NDArray[np.uint8]) -> tuple[Points, Points]:
        """What it tells of a crop, uint8 [256, 256, 3] rgb.

        Returns:
            [33, 3], x and y in crop pixels from its corner and visibility; [33, 3], metres about
            the hips, along the axes of the crop.
        """
        answer = self._network(crop[None].astype(np.float32) / 255)
        told = answer[OUTPUTS["landmarks"]].reshape(POINTS, -1)[:LANDMARKS].astype(np.float64)
        visible = 1 / (1 + np.exp(-told[:, 3]))
        world = answer[OUTPUTS["world"]].reshape(POINTS, -1)[:LANDMARKS].astype(np.float64)
        return np.column_stack([told[:, :2], visible]), world

    def twice(self, image: NDArray[np.uint8], region: Region) -> tuple[Points, Points]:
        """Of a square of a picture [H, W, 3] bgr and its mirror image, in the picture's pixels."""
        crop = np.ascontiguousarray(region.apply(image)[..., ::-1])
        points, world = self(crop)
        mirrored, mirrored_world = (
            told[_MIRRORED] for told in self(np.ascontiguousarray(crop[:, ::-1]))
        )
        mirrored[:, 0] = region.size - mirrored[:, 0]
        mirrored_world[:, 0] *= -1
        points, world = (points + mirrored) / 2, (world + mirrored_world) / 2
        points[:, :2] = region.to_image(points[:, :2])
        world[:, :2] = world[:, :2] @ region.turn.T
        return points, world


def _last_line(error: Exception) -> str:
    """What OpenVINO says in the end: before that come the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), reason(error))
