"""People of recorded images, without ROS: sources in, frames of bodies out."""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from smap_ros.bodies import BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.estimators.base import Delayed, Estimator, Image
from smap_ros.sources import Frame, Source
from smap_ros.temporal import DETECTIONS_ONLY, Tracker

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraChoice:
    """Which camera the images were taken with, as the user states it.

    Attributes:
        calibration: intrinsics for all images, scaled to their size.
        fov: horizontal field of view in radians.
    """

    calibration: Camera | None = None
    fov: float | None = None

    def __post_init__(self) -> None:
        """Refuse two answers."""
        if self.calibration is not None and self.fov is not None:
            raise InputError("both a calibration and a field of view were given; give one")

    @classmethod
    def of(cls, path: Path | None, fov_degrees: float | None) -> CameraChoice:
        """From a calibration file and a field of view in degrees, either or none.

        Raises:
            CameraError: if the file or the angle is impossible.
            InputError: if both are given.
        """
        if fov_degrees is not None and not 0 < fov_degrees < 180:
            raise CameraError(
                f"--fov is {fov_degrees:g} degrees; expected the horizontal field of view, "
                "between 0 and 180"
            )
        fov = None if fov_degrees is None else math.radians(fov_degrees)
        return cls(None if path is None else Camera.from_yaml(path), fov)

    @property
    def stated(self) -> bool:
        """Whether the user said anything."""
        return self.calibration is not None or self.fov is not None

    def require(self, source: Source) -> None:
        """Refuse a source that nothing calibrates, before any work is done.

        Raises:
            CameraError: saying what to give.
        """
        if not self.stated and not source.calibrated:
            raise CameraError(
                f"{source.name} comes without a calibration, and distances can't be had without "
                "one; give --camera CALIBRATION.yaml, or state the horizontal field of view with "
                "--fov DEGREES"
            )

    def of_frame(self, frame: Frame) -> Camera:
        """The camera of one image, at its size: what the user stated, else the source's.

        Raises:
            CameraError: if there is none, or its picture has another shape.
        """
        height, width = frame.image.shape[:2]
        if self.fov is not None:
            return Camera.from_fov(width, height, self.fov)
        camera = self.calibration or frame.camera
        if camera is None:
            raise CameraError(
                f"{frame.source} has no usable calibration; give --camera CALIBRATION.yaml, or "
                "state the horizontal field of view with --fov DEGREES"
            )
        if (camera.width, camera.height) == (width, height):
            return camera
        if abs(camera.width * height - camera.height * width) > max(width, height):
            raise CameraError(
                f"the calibration is for {camera.width}x{camera.height} px, the image "
                f"{frame.source} is {width}x{height} px: another shape, so it can't be scaled. "
                "Calibrate at this size, or give --fov"
            )
        return camera.resized(width, height)


def estimate_frames(
    source: Source,
    estimator: Estimator,
    choice: CameraChoice,
    *,
    every: int = 1,
    max_frames: int | None = None,
) -> Iterator[tuple[Image, BodyFrame]]:
    """Estimate the images of a source, with track ids where they show one scene over time.

    Args:
        source: images; closed at the end.
        estimator: what finds the people.
        choice: the camera.
        every: take every N-th image.
        max_frames: stop after so many.

    Yields:
        The image, uint8 [H, W, 3] bgr, and its people.

    Raises:
        CameraError: if an image has no camera.
    """
    tracker = Tracker(DETECTIONS_ONLY) if source.moving else None
    try:
        for frame, found in _answers(source, estimator, choice, every, max_frames):
            found = replace(found, frame_id=frame.frame_id, source=frame.source, index=frame.index)
            if tracker is not None:
                tracked = tracker.update(found.bodies, found.stamp)
                if tracked is not None:  # nobody is who before an image that was there already
                    found = found.with_bodies(tuple(person.body for person in tracked))
            yield frame.image, found
    finally:
        source.close()


def _answers(
    source: Source,
    estimator: Estimator,
    choice: CameraChoice,
    every: int,
    max_frames: int | None,
) -> Iterator[tuple[Frame, BodyFrame]]:
    """Images and their people, which may come only after later images were looked at."""
    waiting: deque[Frame] = deque()
    _flush(estimator)  # what an earlier source may have left that was not read to its end
    taken = (frame for frame in source if frame.index % every == 0)
    for frame in itertools.islice(taken, max_frames):
        waiting.append(frame)
        answers = [estimator.estimate(frame.image, choice.of_frame(frame), frame.stamp)]
        if not source.moving:  # each image is a scene of its own
            answers += _flush(estimator)
        yield from _paired(waiting, answers)
    yield from _paired(waiting, _flush(estimator))


def _paired(waiting: deque[Frame], answers: list[BodyFrame]) -> Iterator[tuple[Frame, BodyFrame]]:
    """Each answer with its image, which leaves those that wait."""
    for found in answers:
        if found.pending:
            continue
        while waiting[0].stamp != found.stamp:  # nothing was said of it: the video began anew
            waiting.popleft()
        yield waiting.popleft(), found


def _flush(estimator: Estimator) -> list[BodyFrame]:
    return estimator.flush() if isinstance(estimator, Delayed) else []
