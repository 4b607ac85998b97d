"""The truth of a bag: its true people, and which of them each image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from smap_ros.bags.recording import BODIES, read_recording
from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import in_mpi15
from smap_ros.evaluation.common.scenes import VISIBLE, Scene
from smap_ros.skeletons import MPI15

_PACE = 0.03  # of the time between two frames, that other clocks and roundings may make


def recorded_truth(
    path: Path, topic: str, image_topic: str | None = None, rectified: str = "auto"
) -> list[Scene]:
    """The true people of a bag's images, from a topic of theirs.

    Joints that a message leaves out are hidden; who is hidden for the most part needn't be found.

    Args:
        path: the bag.
        topic: its last part.
        image_topic: of the images; None takes those that the people are of.
        rectified: whether these were rectified: ``auto``, ``yes`` or ``no``.

    Raises:
        InputError: if there is no such topic.
    """
    recording = read_recording(path, image_topic, rectified)
    name = topic.rpartition("/")[2]
    if not recording.bodies.get(name):
        there = sorted(name for name, people in recording.bodies.items() if people)
        raise InputError(
            f"bag {path} has no people on topic {topic}; it has "
            f"{', '.join(there) or f'no messages of type {BODIES}'}"
        )
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
    clip that was played slowly, or agree with the truth's for few.

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
    places = _by_time(frames, true)
    few = 2 * len(places) < len(frames)
    # The first image agrees whatever the times are.
    alone = not any(frame.index in places for frame in frames if frame.stamp)
    if cut and images < len(true) and (few or alone or not _at_one_pace(frames, true)):
        return {frame.index: true[frame.index].index for frame in frames}
    if few:
        raise InputError(
            f"the bag has {images} images, the truth {len(true)} frames, and their times don't "
            "agree either, so they can't be compared; is it the truth of this recording?"
        )
    return places


def _at_one_pace(frames: Sequence[BodyFrame], true: Sequence[BodyFrame]) -> bool:
    """Whether the times of most images are as far apart as the truth's."""
    if min(len(frames), len(true)) < 2:
        return True
    passed = np.diff([frame.stamp for frame in frames]) / np.diff([f.index for f in frames])
    usual = np.median(np.diff([frame.stamp for frame in true]))
    return bool(abs(np.median(passed) - usual) <= _PACE * usual)


def _by_time(frames: Sequence[BodyFrame], true: Sequence[BodyFrame]) -> dict[int, int]:
    """Of the images that are near enough to a frame of the truth in time, its index."""
    stamps = np.array([frame.stamp for frame in true])
    half = float(np.median(np.diff(stamps))) / 2 if len(stamps) > 1 else 0.0
    places = {}
    for frame in frames:
        nearest = int(np.abs(stamps - stamps[0] - frame.stamp).argmin())
        if abs(stamps[nearest] - stamps[0] - frame.stamp) < half:
            places[frame.index] = true[nearest].index
    return places
