"""Filling a report: people found anew in a bag's images, or those that were recorded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bags.people import RAW, SMOOTHED, last_part, matching
from smap_ros.bags.reader import NANOSECONDS
from smap_ros.bags.recording import Recording, may_be_shown_again, read_recording
from smap_ros.bags.stages import OF_STAGES, stage_latency
from smap_ros.bags.transforms import CameraMotion
from smap_ros.bodies import BodyFrame
from smap_ros.calibration import CameraChoice
from smap_ros.errors import InputError
from smap_ros.estimators.base import Estimator
from smap_ros.evaluation.bags.measures import (
    BagRun,
    against_truth,
    latencies,
    read_topics,
)
from smap_ros.evaluation.bags.truth import index_by_truth
from smap_ros.evaluation.common.predictions import in_mpi15
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.offline.estimate import estimate_frames, require_camera
from smap_ros.offline.results import Latency
from smap_ros.sources import Frame
from smap_ros.sources.bag import BagSource
from smap_ros.temporal import SmootherConfig


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
        _say_undecodable(run)
        run.warnings += source.damage
        run.latency = latencies(run.frames)
    if run.uncalibrated:
        run.warnings.append(
            f"{run.uncalibrated} of {run.images} images have no usable CameraInfo and were left "
            f"out ({usable.problem}); state the field of view with --fov"
        )
    if usable.unmounted:
        run.warnings.append(
            f"{usable.unmounted} of {run.images} images were left out: TF doesn't tell how the "
            f"camera was mounted then ({source.why_unmounted})"
        )
    if not run.frames and run.uncalibrated:
        require_camera(choice, source)


def recorded(
    run: BagRun,
    path: Path,
    topic: str | None = None,
    image_topic: str | None = None,
    rectified: str = "auto",
    truth: str | None = None,
) -> None:
    """Take the people that were recorded with the images, and add them to a run.

    Args:
        run: what is filled in.
        path: the bag.
        topic: of the people, or its last part; None takes ``bodies``, or else ``bodies_raw``.
        image_topic: of the images; None takes those that people were found in.
        rectified: whether they were rectified: ``auto``, ``yes`` or ``no``.
        truth: topic of true people, or its last part, who are never taken.

    Raises:
        InputError: if the bag has no images, no CameraInfo or no people, or those meant are the
            true ones or can't be told from others.
    """
    recording = read_recording(path, image_topic, rectified, topic)
    run.camera = f"{recording.topic}: {recording.camera_source}"
    true = "" if truth is None else recording.named(truth)
    name = _chosen(recording, topic, true)
    people = recording.people[name]
    run.mode = f"as recorded on {name}"
    run.images = len(recording.image_stamps)
    run.started = recording.image_stamps[0] / NANOSECONDS
    run.frames = [frame for _, frame in recording.frames(name)]
    beside = people.topic.removesuffix(SMOOTHED) + RAW
    raw = recording.named_topics.get(beside, "")
    if people.kind == SMOOTHED and raw not in ("", true):
        run.raw = [frame for _, frame in recording.frames(raw)]
        run.measured = [frame for _, frame in recording.frames(name, predicted=False)]
    elif people.kind == SMOOTHED:
        run.warnings.append(
            f"the bag has no {RAW} beside {people.topic}: what is said of the people before "
            "smoothing is of smoothed ones"
        )
    stages = stage_latency(recording.node("pose3d_node"))
    run.latency_note = OF_STAGES if stages else ""
    run.latency.update({k: Latency(*v) for k, v in stages.items() if k != "latency"})
    for arrival, milliseconds in recording.latency_ms.items():
        if milliseconds:
            run.latency[f"image to {arrival}"] = Latency.of(milliseconds)
    lacking = run.images - len(people.bodies)
    run.unusable = run.images - lacking - len(run.frames)
    lacking -= people.unclear
    if lacking:
        run.warnings.append(f"{lacking} of {run.images} images have no people message: dropped")
    for other, one in recording.people.items():
        run.warnings += one.problems if other != true else ()
    _say_undecodable(run)


def _chosen(recording: Recording, wanted: str | None, truth: str) -> str:
    """The name of the topic of the people asked for, or of those of the graph.

    Args:
        recording: of the bag.
        wanted: topic or its last part.
        truth: name of a topic that is not meant; empty: none.

    Raises:
        InputError: if there is none, or none but that, or several.
    """
    there = recording.named_topics
    if wanted is not None and truth and matching(wanted, there) == [recording.people[truth].topic]:
        raise InputError(
            f"--topic {wanted} is the truth, {recording.people[truth].topic}: compared with itself "
            "it has no errors; expected two topics"
        )
    others = {last_part(topic) for topic, name in there.items() if name != truth}
    usual = [kind for kind in (SMOOTHED, RAW, *sorted(others)) if kind in others] or [SMOOTHED]
    return recording.named(wanted or usual[0], truth)


def judge(
    run: BagRun,
    scenes: Sequence[Scene],
    *,
    cut: bool,
    numbered: bool = False,
    motion: CameraMotion | None = None,
    smoothing: SmootherConfig | None = None,
) -> None:
    """Compare the people of a run with the truth of the clip that it shows.

    Args:
        run: what is filled in.
        scenes: the clip, picture by picture, with its people.
        cut: whether the end of the bag is known to be lost.
        numbered: whether the indices of the clip are those of the bag's images, as of
            :func:`~smap_ros.evaluation.bags.truth.recorded_truth`.
        motion: of the camera.
        smoothing: settings of the smoother.

    Raises:
        InputError: if the images can't be told apart.
    """
    if not run.frames:
        return
    true = [scene.frame for scene in scenes]
    everybody = {frame.index: frame for frame in (*(run.raw or ()), *run.frames)}
    if numbered:
        places: Mapping[int, int] = {frame.index: frame.index for frame in true}
    else:
        start = run.first_image
        counted = [replace(frame, stamp=frame.stamp - start) for frame in run.frames]
        places = index_by_truth(counted, true, run.images, cut=cut)

    # Images that the truth says nothing of have numbers that it hasn't.
    index = {k: places.get(k, -1 - k) for k in everybody}

    def renamed(frames: Sequence[BodyFrame]) -> list[BodyFrame]:
        return [in_mpi15(replace(frame, index=index[frame.index])) for frame in frames]

    def labelled(frames: Sequence[BodyFrame]) -> list[BodyFrame]:
        return renamed([frame for frame in frames if frame.index in places])

    when = {index[k]: run.started + frame.stamp for k, frame in everybody.items()}

    def pose(frame: BodyFrame) -> NDArray[np.float64] | None:
        return None if motion is None else motion.pose(frame.frame_id, when[frame.index])

    must = {scene.frame.index: scene.counted for scene in scenes}
    stated = smoothing not in (None, SmootherConfig())
    run.truth = against_truth(
        labelled(run.frames),
        true,
        smoothing,
        pose,
        must,
        raw=None if run.raw is None else labelled(run.raw),
        measured=None if run.measured is None or stated else labelled(run.measured),
        seen=renamed(run.frames if run.raw is None else run.raw),
        fixed_frame="" if motion is None else motion.fixed_frame(run.frames[0].frame_id),
    )
    if motion is not None and motion.problem:
        run.warnings.append(f"the camera's motion is unknown at the end: {motion.problem}")


def _say_undecodable(run: BagRun) -> None:
    if run.unusable:
        run.warnings.append(f"{run.unusable} images can't be decoded and were left out")


class _Usable:
    """The images of a bag that have a camera, counted as those of a recording are.

    So one shown again at the start counts once, and one that can't be decoded has its number.

    Attributes:
        problem: why the first image without a camera has none.
    """

    live, moving, calibrated = False, True, True

    def __init__(self, source: BagSource, choice: CameraChoice, run: BagRun) -> None:
        self._source, self._stated, self._run = source, choice.stated, run
        self.name, self.count, self.rate = source.name, source.count, source.rate
        self.camera_source = source.camera_source
        self.problem = ""
        self._topic = next(topic for topic in run.topics if topic.name == source.topic.name)
        self._again = 0

    def __iter__(self) -> Iterator[Frame]:
        run, decoded = self._run, 0
        for frame in self._once():
            decoded += 1
            run.images = frame.index + 1
            run.unusable = run.images - decoded - self.unmounted
            if decoded == 1:
                run.first_image = self._topic.first if frame.index else frame.stamp
            if frame.camera is None and not self._stated:
                run.uncalibrated += 1
                self.problem = self.problem or frame.problem
            else:
                yield frame
        if not self._source.damage:  # the last may be undecodable
            run.images = max(run.images, self._topic.messages - self._again)
            run.unusable = run.images - decoded - self.unmounted

    @property
    def unmounted(self) -> int:
        """Images of those so far that were left out for TF; the source has read farther."""
        return bisect_left(self._source.unmounted, self._run.images + self._again)

    def _once(self) -> Iterator[Frame]:
        """All that can be decoded, by number; of one shown again, the last stamp counts."""
        waiting: Frame | None = None
        for frame in self._source:
            if waiting is not None:
                if frame.index == self._again + 1 and _shown_again(waiting, frame):
                    self._again += 1
                else:
                    yield waiting
            waiting = replace(frame, index=frame.index - self._again)
        if waiting is not None:
            yield waiting

    def close(self) -> None:
        self._source.close()


def _shown_again(first: Frame, frame: Frame) -> bool:
    """Whether a camera node shows its first image again, as it does until somebody answers.

    A picture that stays the same, as in a simulation where nothing moves, is an image each time.
    """
    may_be = may_be_shown_again(first.stamp_ns, frame.stamp_ns)
    return may_be and np.array_equal(frame.image, first.image)
