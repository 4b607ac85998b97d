"""Pseudo labels of depth: what MediaPipe's pose models make of each photo of an archive.

MediaPipe demands versions of common packages that contradict those this project is tested with, so
it is no dependency: it belongs in an environment of its own. Where people are labelled, its
landmark network alone does, which OpenVINO runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.errors import InputError, reason
from smap_ros.estimators.second_look.region import Region, region_around
from smap_ros.evaluation.pck2d.truth import PhotoFiles
from smap_ros.evaluation.views.truth import read_labelled
from smap_ros.images import decode_compressed
from smap_train.export.second_look import EXACT, MARGIN, OUTPUTS
from smap_train.files import whole_file
from smap_train.models.landmarks import LANDMARKS, POINTS, SIZE

_PAIRS = (1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((k, k + 1) for k in range(11, LANDMARKS, 2))
_FULL_MODEL = 1  # of MediaPipe's "lite", "full" and "heavy"

_MIRRORED = np.arange(LANDMARKS)
for _left, _right in _PAIRS:
    _MIRRORED[[_left, _right]] = _right, _left
_SHAPES = [[1, SIZE, SIZE, 3], [1, 5 * POINTS], [1, 1], [1, 3 * POINTS]]

Points = NDArray[np.floating]
# A picture, uint8 [H, W, 3] bgr -> landmarks [33, 3] as x, y in pixels and visibility, and [33, 3]
# in metres about the hips; None if nobody is found.
Detector = Callable[[NDArray[np.uint8]], tuple[Points, Points] | None]


def convert_pseudo(archive: Path, out: Path, detector: Detector | None = None) -> tuple[int, int]:
    """Label the photos of an archive.

    Args:
        archive: zip file or folder that ``lspet`` or ``ccp`` wrote.
        out: ``.npz`` to write: ``names``, ``landmarks`` [n, 33, 3] (x, y in pixels, visibility) and
            ``world_m`` [n, 33, 3] (metres about the hips: x right, y down, z away); NaN where
            nobody is found.
        detector: what labels them; MediaPipe's full model by default.

    Returns:
        How many photos, and in how many somebody is found.

    Raises:
        InputError: if the archive has no photos or one is damaged, or MediaPipe is missing.
    """
    files = PhotoFiles(archive)
    names = sorted(name for name in files.names() if name.lower().endswith(".jpg"))
    if not names:
        raise InputError(f"{archive} has no photos (.jpg)")
    detector = detector or mediapipe_detector()
    landmarks = np.full((len(names), LANDMARKS, 3), np.nan, np.float16)
    world = landmarks.copy()
    for k, name in enumerate(tqdm(names, unit="photo")):
        found = detector(decode_compressed(files.read(name)))
        if found is not None:
            landmarks[k], world[k] = found
    with whole_file(out) as file:
        np.savez_compressed(file, names=np.array(names), landmarks=landmarks, world_m=world)
    return len(names), int(np.isfinite(world[:, 0, 0]).sum())


def convert_labelled(labels: Path, out: Path, network: Path) -> tuple[int, int]:
    """Label the people of photos who are labelled already, in squares about their joints.

    Args:
        labels: archive that ``lspet`` wrote, or earlier pseudo labels beside their archive.
        out: as of :func:`convert_pseudo`; the mean of what the network tells of a square and of its
            mirror image.
        network: ``pose_landmark_heavy.tflite``, ``_full`` or ``_lite``.

    Returns:
        How many photos, and in how many the person could be looked at.

    Raises:
        InputError: if labels or photos can't be read, or the network is another.
    """
    people, looks = read_labelled(labels), LandmarkNetwork(network)
    landmarks = np.full((len(people), LANDMARKS, 3), np.nan, np.float16)
    world = landmarks.copy()
    for k, person in enumerate(tqdm(people, unit="photo")):
        region = region_around(person.joints_2d, MARGIN, SIZE)
        if region is not None:
            landmarks[k], world[k] = looks.twice(person.image(), region)
    with whole_file(out) as file:
        names = np.array([person.name for person in people])
        np.savez_compressed(file, names=names, landmarks=landmarks, world_m=world)
    return len(people), int(np.isfinite(world[:, 0, 0]).sum())


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
                *(self._network.output(name).shape for name in OUTPUTS.values()),
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


def mediapipe_detector() -> Detector:
    """MediaPipe's full pose model, which lies in its wheel.

    Raises:
        InputError: if MediaPipe isn't installed, saying how.
    """
    try:
        pose = importlib.import_module("mediapipe.python.solutions.pose")
    except ImportError as error:
        raise InputError(
            f"MediaPipe is missing ({error}); make an environment of its own for it: python3.11 -m "
            "venv pseudo && pseudo/bin/pip install '.[train]' mediapipe==0.10.21, then "
            "pseudo/bin/smap-train data convert pseudo ..."
        ) from error
    model = pose.Pose(static_image_mode=True, model_complexity=_FULL_MODEL)

    def detect(image: NDArray[np.uint8]) -> tuple[Points, Points] | None:
        found = model.process(np.ascontiguousarray(image[..., ::-1]))
        if found.pose_landmarks is None:
            return None
        height, width = image.shape[:2]
        points = _array(found.pose_landmarks.landmark, "visibility") * (width, height, 1)
        return points, _array(found.pose_world_landmarks.landmark, "z")

    return detect


def _array(landmarks: Any, third: str) -> Points:
    return np.array([[point.x, point.y, getattr(point, third)] for point in landmarks])
