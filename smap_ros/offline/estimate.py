"""People of recorded images, without ROS: sources in, frames of bodies out."""

from __future__ import annotations

import itertools
import logging
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from smap_ros.bodies import Body, BodyFrame
from smap_ros.calibration import CameraChoice
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError, SmapError
from smap_ros.estimators.base import Delayed, Estimator, Image, flush, flush_before
from smap_ros.sources import Frame, Source
from smap_ros.temporal import DETECTIONS_ONLY, Answer, BodySmoother, SmootherConfig

LOG = logging.getLogger(__name__)

IDS_ONLY = SmootherConfig(smoother="none")

OPTIONS = "--camera CALIBRATION.yaml, --fov DEGREES"
WHAT_TO_GIVE = (
    "give --camera CALIBRATION.yaml, or state the horizontal field of view with --fov DEGREES"
)


def require_camera(choice: CameraChoice, source: Source) -> None:
    """Refuse a source that nothing calibrates, before any work is done.

    Raises:
        CameraError: saying what to give.
    """
    if not choice.stated and not source.calibrated:
        raise CameraError(
            f"{source.name} comes without a calibration, and distances can't be had without one; "
            f"{WHAT_TO_GIVE}"
        )


def camera_of(choice: CameraChoice, frame: Frame, stated_by: str = OPTIONS) -> Camera:
    """The camera of one image, at its size: what the user stated, else the source's.

    Args:
        choice: what the user stated.
        frame: the image.
        stated_by: how a user may state it, for the error.

    Raises:
        CameraError: if there is none, or its picture has another shape.
    """
    height, width = frame.image.shape[:2]
    try:
        camera = choice.camera(
            (width, height), frame.camera, pixel_aspect=frame.pixel_aspect, problem=frame.problem
        )
    except CameraError as error:
        named = f"image {frame.index} of {frame.source}"
        raise CameraError(f"{named}: {error} ({stated_by})") from error
    return camera if frame.mounting is None else replace(camera, mounting=frame.mounting)


def estimate_frames(
    source: Source,
    estimator: Estimator,
    choice: CameraChoice,
    *,
    every: int = 1,
    max_frames: int | None = None,
    smoothing: SmootherConfig = IDS_ONLY,
) -> Iterator[tuple[Image, BodyFrame]]:
    """Estimate the images of a source, with track ids where they show one scene over time.

    Args:
        source: images; closed at the end.
        estimator: what finds the people.
        choice: the camera.
        every: take every N-th image.
        max_frames: stop after so many.
        smoothing: what smooths people over time; of its tracker's rules only those that drop and
            invent nobody are used.

    Yields:
        The image, uint8 [H, W, 3] bgr, and its people, in the order of the source.

    Of a folder, a picture that can't be used is skipped with a warning.

    Raises:
        CameraError: if an image has no camera; of a folder, if none can be used.
        InputError: if an image can't be used, likewise.
    """
    detector = estimator.about.sha256
    config = smoothing.changed(tracker=DETECTIONS_ONLY)
    smoother = BodySmoother(config, detector) if source.moving else None
    shown: deque[_Shown] = deque()
    try:
        for frame, found in _answers(source, estimator, choice, every, max_frames):
            found = replace(
                found,
                frame_id=frame.frame_id,
                source=frame.source,
                index=frame.index,
                detector=detector,
            )
            if smoother is None:
                yield frame.image, found
                continue
            late, one = smoother.late, _Shown(frame.image, found)
            shown.append(one)
            _name(smoother.update(found.bodies, found.stamp, one))
            if smoother.late > late:  # nobody is who before an image that was there already
                one.answer(tuple(replace(body, id=None) for body in found))
            while shown and shown[0].answered:
                yield shown.popleft().result
        if smoother is not None:
            _name(smoother.flush())
        for one in shown:
            yield one.result
    finally:
        source.close()


@dataclass
class _Shown:
    """An image and its people, as they were found until the smoother has answered."""

    image: Image
    found: BodyFrame
    answered: bool = False

    @property
    def result(self) -> tuple[Image, BodyFrame]:
        return self.image, self.found

    def answer(self, bodies: tuple[Body, ...]) -> None:
        self.found, self.answered = self.found.with_bodies(bodies), True


def _name(answers: Iterable[Answer]) -> None:
    for answer in answers:
        answer.note.answer(tuple(person.body for person in answer.people))


def _answers(
    source: Source,
    estimator: Estimator,
    choice: CameraChoice,
    every: int,
    max_frames: int | None,
) -> Iterator[tuple[Frame, BodyFrame]]:
    """Images and their people, which may come only after later images were looked at."""
    waiting: deque[Frame] = deque()
    flush(estimator)  # what an earlier source may have left that was not read to its end
    if isinstance(estimator, Delayed) and not source.moving and source.count != 1:
        LOG.warning(
            "%s looks at people over time, but each picture of %s is a scene of its own; where "
            "they are a film, say how many come a second with --fps", estimator.about, source.name,
        )  # fmt: skip
    taken = (frame for frame in source if frame.index % every == 0)
    most = None if max_frames is None else min(max_frames, sys.maxsize)
    images = itertools.islice(taken, most)
    if not source.moving:
        yield from _scenes(source, images, estimator, choice)
        return
    last = -math.inf
    for frame in images:
        if frame.stamp <= last:  # the clock was set back, or tells no images apart
            owed = [*flush_before(estimator, frame.stamp), *flush(estimator)]
            yield from _paired(waiting, owed)
        last = frame.stamp
        waiting.append(frame)
        answers = [estimator.estimate(frame.image, camera_of(choice, frame), frame.stamp)]
        yield from _paired(waiting, answers)
    yield from _paired(waiting, flush(estimator))


def _scenes(
    source: Source, images: Iterable[Frame], estimator: Estimator, choice: CameraChoice
) -> Iterator[tuple[Frame, BodyFrame]]:
    """Each image by itself; one of several that can't be used costs none of the others."""
    refused: list[SmapError] = []
    usable = False
    for frame in images:
        try:
            answers = [estimator.estimate(frame.image, camera_of(choice, frame), frame.stamp)]
            answers += flush(estimator)
        except (CameraError, InputError) as error:
            if source.count == 1:
                raise
            refused.append(_named_error(error, frame))
            LOG.warning("skipped: %s", refused[-1])
            continue
        usable = True
        yield from _paired(deque([frame]), answers)
    if refused and not usable:
        told = f"none of the {len(refused)} pictures of {source.name} can be used; the first:"
        raise type(refused[0])(f"{told} {refused[0]}")


def _named_error(error: SmapError, frame: Frame) -> SmapError:
    """The error with the image that it is of, as :func:`camera_of` says it already."""
    if isinstance(error, CameraError):
        return error
    return type(error)(f"image {frame.index} of {frame.source}: {error}")


def _paired(waiting: deque[Frame], answers: list[BodyFrame]) -> Iterator[tuple[Frame, BodyFrame]]:
    """Each answer with its image, which leaves those that wait; both come in order."""
    for found in answers:
        if not found.pending:
            yield waiting.popleft(), found
