"""The truth of a bag: its true people, and which of them each image shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from smap_ros.bags.recording import read_recording
from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import in_mpi15
from smap_ros.evaluation.common.scenes import VISIBLE, Scene
from smap_ros.skeletons import MPI15

LOG = logging.getLogger(__name__)

_PACE = 0.03  # of the time between two frames, that other clocks and roundings may make


def recorded_truth(
    path: Path,
    topic: str,
    image_topic: str | None = None,
    rectified: str = "auto",
    tell: Callable[[str], None] = LOG.warning,
) -> list[Scene]:
    """The true people of a bag's images, from a topic of theirs.

    Joints that a message leaves out are hidden; who is hidden for the most part needn't be found.

    Args:
        path: the bag.
        topic: of the people, or its last part.
        image_topic: of the images; None takes those that the people are of.
        rectified: whether these were rectified: ``auto``, ``yes`` or ``no``.
        tell: is told what can't be known of them, for people to read.

    Raises:
        InputError: if there is no such topic, or several end alike.
    """
    recording = read_recording(path, image_topic, rectified, topic)
    name = recording.named(topic)
    for told in recording.people[name].problems:
        tell(told)
    scenes = []
    for image, frame in recording.frames(name):
        frame = in_mpi15(frame)
        joints = len(MPI15)
        scenes.append(
            Scene(
                key=frame.index,
                frame=frame,
                visibility=np.array([VISIBLE * body.present for body in frame], np.uint8).reshape(
                    -1, joints
                ),
                boxes=np.array([body.box for body in frame]).reshape(-1, 4),
                read=partial(np.copy, image),
                sequence=path.name,
            )
        )
    return scenes


def index_by_truth(
    frames: Sequence[BodyFrame], true: Sequence[BodyFrame], images: int, *, cut: bool
) -> Mapping[int, int]:
    """Which frame of the truth each image is: by number where there are as many, else by time.

    A bag that was cut off has fewer images, and others may be missing inside. So its images are
    taken by number only where their times tell nothing: where they pass at another pace, as of a
    clip that was played slowly, or agree with the truth's for few. By time, a frame of the truth is
    one image's, the nearest: a bag may have more images than were labelled.

    Args:
        frames: of the bag; stamps count from its first image, indices count its images.
        true: of the clip.
        images: in the bag.
        cut: whether the end of the bag is known to be lost.

    Returns:
        Index in the truth by index in the bag.

    Raises:
        InputError: if the images can't be told apart.
    """
    if images == len(true):
        return {frame.index: true[frame.index].index for frame in frames}
    near = _near_in_time(frames, true)
    few = 2 * len(near) < len(frames)
    # The first image agrees whatever the times are.
    alone = not any(frame.index in near for frame in frames if frame.stamp)
    if cut and images < len(true) and (few or alone or not _at_one_pace(frames, true)):
        return {frame.index: true[frame.index].index for frame in frames}
    if few:
        raise InputError(
            f"the bag has {images} images, the truth {len(true)} frames, and their times don't "
            "agree either, so they can't be compared; is it the truth of this recording?"
        )
    return _nearest(near)


def _at_one_pace(frames: Sequence[BodyFrame], true: Sequence[BodyFrame]) -> bool:
    """Whether the times of most images are as far apart as the truth's."""
    if min(len(frames), len(true)) < 2:
        return True
    passed = np.diff([frame.stamp for frame in frames]) / np.diff([f.index for f in frames])
    usual = np.median(np.diff([frame.stamp for frame in true]))
    return bool(abs(np.median(passed) - usual) <= _PACE * usual)


def _near_in_time(
    frames: Sequence[BodyFrame], true: Sequence[BodyFrame]
) -> dict[int, tuple[int, float]]:
    """Of images near enough to a true frame in time: its index, and seconds between the two."""
    stamps = np.array([frame.stamp for frame in true])
    half = float(np.median(np.diff(stamps))) / 2 if len(stamps) > 1 else 0.0
    near = {}
    for frame in frames:
        apart = np.abs(stamps - stamps[0] - frame.stamp)
        nearest = int(apart.argmin())
        if apart[nearest] < half:
            near[frame.index] = true[nearest].index, float(apart[nearest])
    return near


def _nearest(near: Mapping[int, tuple[int, float]]) -> dict[int, int]:
    """Of images near to a frame of the truth its index, each only of the image nearest to it.

    A bag has more images than its truth has frames where only some of them are labelled.
    """
    taken: dict[int, tuple[float, int]] = {}
    for image, (index, apart) in near.items():
        taken[index] = min(taken.get(index, (apart, image)), (apart, image))
    return {image: index for index, (_, image) in sorted(taken.items())}
