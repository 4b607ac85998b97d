"""Pseudo labels of depth: what MediaPipe's pose model makes of each photo of an archive.

MediaPipe demands versions of common packages that contradict those this project is tested with, so
it is no dependency: it belongs in an environment of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.errors import InputError
from smap_ros.evaluation.pck2d.truth import PhotoFiles
from smap_ros.images import decode_compressed
from smap_train.files import whole_file

LANDMARKS = 33  # of BlazePose
_FULL_MODEL = 1  # of MediaPipe's "lite", "full" and "heavy"

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
