"""Filling a report: people found anew in a bag's images, or those that were recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bags.reader import NANOSECONDS
from smap_ros.bags.recording import BODIES, read_recording
from smap_ros.bags.stages import OF_STAGES, stage_latency
from smap_ros.bags.transforms import CameraMotion
from smap_ros.bodies import BodyFrame
from smap_ros.calibration import CameraChoice
from smap_ros.errors import InputError
from smap_ros.estimators.base import Estimator
from smap_ros.evaluation.bags.measures import (
    BagRun,
    against_truth,
    index_by_truth,
    latencies,
    read_topics,
)
from smap_ros.evaluation.common.predictions import in_mpi15
from smap_ros.evaluation.common.scenes import VISIBLE, Scene
from smap_ros.offline.estimate import estimate_frames, require_camera
from smap_ros.offline.results import Latency
from smap_ros.skeletons import MPI15
from smap_ros.sources import Frame
from smap_ros.sources.bag import BagSource
from smap_ros.temporal import SmootherConfig

# Topics of the graph's people, their last parts.
RAW, SMOOTHED = "bodies_raw", "bodies"


def inspect_bag(path: Path, note: str = "") -> BagRun:
    """What can be said of a bag without looking at its images.

    Args:
        path: a bag that can be opened.
        note: what was lost or converted before, if anything.

    Raises:
        InputError: if it can't be opened.
    """
    topics, seconds, warnings = read_topics(path)
    return BagRun(path.name, "", seconds, topics, [*([note] if note else []), *warnings])


def replay(
    run: BagRun,
    source: BagSource,
    estimator: Estimator,
    choice: CameraChoice,
    *,
    every: int = 1,
    max_frames: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Find the people of the images with an estimator, and add them to a run.

    Args:
        run: what is filled in.
        source: the bag.
        estimator: what finds the people.
        choice: the camera, where the bag's is not wanted or missing.
        every: take every N-th image.
        max_frames: stop after so many.
        on_image: called after each image, for progress.

    Raises:
        CameraError: if no image has a camera.
        SmapError: if the estimator fails.
    """
    run.mode = f"found anew by {estimator.about}"
    usable = _Usable(source, choice, run)
    run.camera = "as stated" if choice.stated else f"{source.topic.name}: {source.camera_source}"
    frames = estimate_frames(usable, estimator, choice, every=every, max_frames=max_frames)
    try:
        for _, frame in frames:
            run.frames.append(frame)
            on_image()
    finally:  # also when the run is stopped: what was done is reported
        run.warnings += source.damage
        run.latency = latencies(run.frames)
    if run.uncalibrated:
        run.warnings.append(
            f"{run.uncalibrated} of {run.images} images have no usable CameraInfo and were left "
            f"out ({usable.problem}); state the field of view with --fov"
        )
    if not run.frames and run.uncalibrated:
        require_camera(choice, source)


def recorded(
    run: BagRun,
    path: Path,
    topic: str | None = None,
    image_topic: str | None = None,
    rectified: str = "auto",
) -> None:
    """Take the people that were recorded with the images, and add them to a run.

    Args:
        run: what is filled in.
        path: the bag.
        topic: of the people, its last part; None takes ``bodies``, or else ``bodies_raw``.
        image_topic: of the images; None takes those that people were found in.
        rectified: whether they were rectified: ``auto``, ``yes`` or ``no``.

    Raises:
        InputError: if the bag has no images, no CameraInfo or no people.
    """
    recording = read_recording(path, image_topic, rectified)
    run.camera = f"{recording.topic}: {recording.camera_source}"
    # A recorder may know of a topic that nothing came on.
    there = sorted(topic for topic, people in recording.bodies.items() if people)
    name = topic or next((name for name in ("bodies", *there) if name in there), "bodies")
    if name not in there:
        raise InputError(
            f"bag {path} has no people on topic {name}; it has "
            f"{', '.join(there) or f'no messages of type {BODIES}'}. Without --recorded they are "
            "found anew"
        )
    run.mode = f"as recorded on {name}"
    run.images = len(recording.image_stamps)
    run.started = recording.image_stamps[0] / NANOSECONDS
    run.frames = [frame for _, frame in recording.frames(name)]
    if name == SMOOTHED and RAW in there:
        run.raw = [frame for _, frame in recording.frames(RAW)]
        run.measured = [frame for _, frame in recording.frames(name, predicted=False)]
    elif name == SMOOTHED:
        run.warnings.append(
            f"the bag has no {RAW}: what is said of the people before smoothing is of smoothed ones"
        )
    stages = stage_latency(recording.node("pose3d_node"))
    run.latency_note = OF_STAGES if stages else ""
    run.latency.update({k: Latency(*v) for k, v in stages.items() if k != "latency"})
    for arrival, milliseconds in recording.latency_ms.items():
        if milliseconds:
            run.latency[f"image to {arrival}"] = Latency.of(milliseconds)
    lacking = run.images - len(run.frames)
    if lacking:
        run.warnings.append(f"{lacking} of {run.images} images have no people message: dropped")


def judge(
    run: BagRun,
    scenes: Sequence[Scene],
    *,
    cut: bool,
    motion: CameraMotion | None = None,
    smoothing: SmootherConfig | None = None,
) -> None:
    """Compare the people of a run with the truth of the clip that it shows.

    Args:
        run: what is filled in.
        scenes: the clip, picture by picture, with its people.
        cut: whether the end of the bag is known to be lost.
        motion: of the camera.
        smoothing: settings of the smoother.

    Raises:
        InputError: if the images can't be told apart.
    """
    if not run.frames:
        return
    true = [scene.frame for scene in scenes]
    start = run.frames[0].stamp
    counted = [replace(frame, stamp=frame.stamp - start) for frame in run.frames]
    places = index_by_truth(counted, true, run.images, cut=cut)

    def renamed(frames: Sequence[BodyFrame]) -> list[BodyFrame]:
        return [
            in_mpi15(replace(frame, index=places[frame.index]))
            for frame in frames
            if frame.index in places
        ]

    when = {places.get(frame.index): run.started + frame.stamp for frame in run.frames}

    def pose(frame: BodyFrame) -> NDArray[np.float64] | None:
        return None if motion is None else motion.pose(frame.frame_id, when[frame.index])

    must = {scene.frame.index: scene.counted for scene in scenes}
    stated = smoothing not in (None, SmootherConfig())
    run.truth = against_truth(
        renamed(run.frames),
        true,
        smoothing,
        pose,
        must,
        raw=None if run.raw is None else renamed(run.raw),
        measured=None if run.measured is None or stated else renamed(run.measured),
        fixed_frame="" if motion is None else motion.fixed_frame(run.frames[0].frame_id),
    )
    if motion is not None and motion.problem:
        run.warnings.append(f"the camera's motion is unknown at the end: {motion.problem}")


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


class _Usable:
    """The images of a bag that have a camera, counted; an image shown again at the start once.

    A camera node that waits for somebody to listen shows its first image until then.

    Attributes:
        problem: why the first image without a camera has none.
    """

    live, moving, calibrated = False, True, True

    def __init__(self, source: BagSource, choice: CameraChoice, run: BagRun) -> None:
        self._source, self._stated, self._run = source, choice.stated, run
        self.name, self.count, self.rate = source.name, source.count, source.rate
        self.camera_source = source.camera_source
        self.problem = ""

    def __iter__(self) -> Iterator[Frame]:
        run, first = self._run, None
        for read, frame in enumerate(self._source):
            run.unusable = frame.index - read
            if first is not None and run.images == 1 and _same(frame.image, first):
                continue
            first = frame.image if first is None else first
            index = run.images
            run.images += 1
            if frame.camera is None and not self._stated:
                run.uncalibrated += 1
                self.problem = self.problem or frame.problem
            else:
                yield replace(frame, index=index)
        if run.unusable:
            run.warnings.append(f"{run.unusable} images can't be decoded and were left out")

    def close(self) -> None:
        self._source.close()


def _same(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return image.shape == other.shape and bool((image == other).all())
