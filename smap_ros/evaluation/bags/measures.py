"""What is in a bag, and what became of its images: the measures of a test engineer's report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bags.reader import NANOSECONDS, open_bag, raw_header
from smap_ros.bodies import Body, BodyFrame
from smap_ros.evaluation.common.identities import (
    IdentityCollector,
    IdentityNumbers,
    has_trackeval,
    identity_numbers,
)
from smap_ros.evaluation.common.metrics import Accuracy, compare
from smap_ros.evaluation.common.motion import (
    MotionNumbers,
    TrackCollector,
    WorldNumbers,
    motion_numbers,
    world_numbers,
)
from smap_ros.offline.results import Latency
from smap_ros.temporal import BodySmoother, SmootherConfig, smooth_frames

Float = NDArray[np.float64]

# An interval this much longer than the usual one is a gap.
GAP = 1.5
# Types that come steadily, so that a gap means a loss.
_STEADY = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
    "smap_ros/msg/BodyArray",
)
AS_RECORDED = "as recorded"
# A track that begins this soon after and this near to where another ended is the same person.
_HANDOVER_TIME, _HANDOVER_DISTANCE = 1.0, 0.75


@dataclass(frozen=True)
class Topic:
    """The messages of one topic.

    Attributes:
        name, kind: topic and type.
        messages: how many there are.
        first: stamp of the first, seconds; NaN without any.
        rate: median rate of the stamps, hertz (of the arrivals where messages have no stamp); NaN
            with fewer than two.
        gaps: intervals longer than :data:`GAP` times the median; None of a type that doesn't come
            steadily.
        missing: messages that are lacking in these gaps at that rate; None likewise.
        longest: interval, seconds.
        backwards: stamps earlier than the one before.
        repeated: stamps equal to the one before.
    """

    name: str
    kind: str
    messages: int
    first: float
    rate: float
    gaps: int | None
    missing: int | None
    longest: float
    backwards: int
    repeated: int


@dataclass(frozen=True)
class Track:
    """One identity.

    Attributes:
        id: its number.
        start, end: first and last stamp, seconds.
        frames: in which the person was reported.
        holes: frames between the first and the last in which they were not.
    """

    id: int
    start: float
    end: float
    frames: int
    holes: int


@dataclass(frozen=True)
class OverTime:
    """Measures over time: of motion, and of identities where trackeval is installed.

    Attributes:
        identities: None as well where nobody found or nobody true has one.
        world: of joints in the frame that stands still, where the bag's TF tells it.
        stride: frames of the truth from one that is compared to the next, as usual. Two that are
            so far apart follow one another, and are the step that motion is measured in.
    """

    motion: MotionNumbers
    identities: IdentityNumbers | None
    world: WorldNumbers | None = None
    stride: int = 1


@dataclass(frozen=True)
class Truth:
    """The people against those who were there.

    Attributes:
        accuracy: errors of the people.
        switches: how often a true person who was found again had another identity than before;
            None where the truth doesn't say who is who.
        before: the people before tracker and smoother, over time.
        after: the same afterwards, those who are only predicted left out.
        smoother: the one that ran for ``after``; :data:`AS_RECORDED` where it ran before the bag
            was recorded.
    """

    accuracy: Accuracy
    switches: int | None
    before: OverTime
    after: OverTime
    smoother: str


@dataclass
class BagRun:
    """All that a report says.

    Attributes:
        bag: name of the bag.
        mode: how its people were had, for people to read.
        seconds: from its first to its last message.
        topics: by name.
        warnings: what is wrong with the bag or could not be done, one line each.
        images: pictures in the bag that were considered.
        unusable: of them, those that can't be decoded.
        uncalibrated: of them, those without a usable CameraInfo.
        frames: people of each image that was worked on, in order.
        latency: milliseconds by stage.
        latency_note: which of them aren't of the whole bag, for people to read.
        truth: where there is one.
        camera: where the camera is known from, and whether its images are rectified.
        started: what the stamps of ``frames`` count from, seconds.
        first_image: stamp of the bag's first image, counted as those of ``frames``; it may not be
            among them.
        raw: people of the images before they were smoothed, where those of ``frames`` were smoothed
            when the bag was recorded; None otherwise.
        measured: where ``raw`` is given, ``frames`` without those who were only predicted.
    """

    bag: str
    mode: str
    seconds: float
    topics: tuple[Topic, ...]
    warnings: list[str] = field(default_factory=list)
    images: int = 0
    unusable: int = 0
    uncalibrated: int = 0
    frames: list[BodyFrame] = field(default_factory=list)
    latency: dict[str, Latency] = field(default_factory=dict)
    latency_note: str = ""
    truth: Truth | None = None
    camera: str = ""
    started: float = 0.0
    first_image: float = 0.0
    raw: list[BodyFrame] | None = None
    measured: list[BodyFrame] | None = None


def read_topics(path: Path) -> tuple[tuple[Topic, ...], float, list[str]]:
    """The topics of a bag, its length in seconds, and what is wrong with it.

    Raises:
        InputError: if it can't be opened.
    """
    stamps: dict[tuple[str, str], list[int]] = {}
    warnings = []
    first = last = None
    with open_bag(path) as reader:
        for connection in reader.connections:
            stamps.setdefault((connection.topic, connection.msgtype), [])
        try:
            for connection, arrived, raw in reader.messages():
                first = arrived if first is None else first
                last = arrived
                header = raw_header(reader, connection.msgtype, raw)
                stamp = arrived if header is None else header[0] or arrived
                stamps[connection.topic, connection.msgtype].append(stamp)
        except Exception as error:  # readers of damaged bags fail in many ways
            read = sum(map(len, stamps.values()))
            warnings.append(f"the bag is damaged after {read} messages: {error}")
    topics = tuple(topic_of(name, kind, values) for (name, kind), values in sorted(stamps.items()))
    return topics, 0.0 if first is None or last is None else (last - first) / NANOSECONDS, warnings


def topic_of(name: str, kind: str, stamps: Sequence[int]) -> Topic:
    """The measures of a topic from its stamps in nanoseconds, in order of arrival."""
    steps = np.diff(np.array(stamps, np.int64)).astype(np.float64) / NANOSECONDS
    forward = steps[steps > 0]
    usual = float(np.median(forward)) if forward.size else float("nan")
    long = forward[forward > GAP * usual]
    return Topic(
        name=name,
        kind=kind,
        messages=len(stamps),
        first=stamps[0] / NANOSECONDS if stamps else float("nan"),
        rate=1 / usual if forward.size else float("nan"),
        gaps=len(long) if kind in _STEADY else None,
        missing=int(np.round(long / usual - 1).sum()) if kind in _STEADY else None,
        longest=float(forward.max()) if forward.size else float("nan"),
        backwards=int((steps < 0).sum()),
        repeated=int((steps == 0).sum()),
    )


def latencies(frames: Iterable[BodyFrame]) -> dict[str, Latency]:
    """Milliseconds by stage over all frames, and their ``total``."""
    stages: dict[str, list[float]] = defaultdict(list)
    for frame in frames:
        for stage, value in frame.timings_ms.items():
            stages[stage].append(value)
        if frame.timings_ms and "total" not in frame.timings_ms:
            stages["total"].append(sum(frame.timings_ms.values()))
    ordered = sorted(stages.items(), key=lambda item: item[0] == "total")
    return {stage: Latency.of(values) for stage, values in ordered}


def tracks(frames: Sequence[BodyFrame]) -> list[Track]:
    """The identities, by number."""
    seen: dict[int, list[int]] = defaultdict(list)
    for k, frame in enumerate(frames):
        for body in frame:
            if body.id is not None:
                seen[body.id].append(k)
    return [
        Track(
            id=number,
            start=frames[places[0]].stamp,
            end=frames[places[-1]].stamp,
            frames=len(places),
            holes=places[-1] - places[0] + 1 - len(places),
        )
        for number, places in sorted(seen.items())
    ]


def handovers(frames: Sequence[BodyFrame]) -> list[tuple[int, int]]:
    """Pairs of identities (before, after) that are probably one person.

    The second begins within a second after the first has ended, within 0.75 m of where it was.
    """
    first: dict[int, tuple[float, Body]] = {}
    last: dict[int, tuple[float, Body]] = {}
    for frame in frames:
        for body in frame:
            if body.id is not None and np.isfinite(body.root).all():
                first.setdefault(body.id, (frame.stamp, body))
                last[body.id] = frame.stamp, body
    found = []
    for after, (begun, new) in sorted(first.items(), key=lambda item: item[1][0]):
        near = [
            (float(np.linalg.norm(new.root - old.root)), before)
            for before, (ended, old) in last.items()
            if before != after and 0 < begun - ended <= _HANDOVER_TIME
        ]
        if near and min(near)[0] <= _HANDOVER_DISTANCE:
            found.append((min(near)[1], after))
    return found


def against_truth(
    frames: Sequence[BodyFrame],
    true: Sequence[BodyFrame],
    smoothing: SmootherConfig | None = None,
    pose: Callable[[BodyFrame], Float | None] = lambda _: None,
    counted: Mapping[int, NDArray[np.bool_]] | None = None,
    *,
    raw: Sequence[BodyFrame] | None = None,
    measured: Sequence[BodyFrame] | None = None,
    seen: Sequence[BodyFrame] | None = None,
    fixed_frame: str = "",
) -> Truth:
    """Errors and changed identities; frames are compared where their indices are equal.

    Args:
        frames: people found; each frame says by which network.
        true: who was there.
        smoothing: settings of the smoother.
        pose: of the camera at a frame, where it is known.
        counted: who must be found, bool [people] of a true frame by its index; the others are left
            out. Everybody without it.
        raw: the people before they were smoothed, where ``frames`` are smooth already.
        measured: the people of ``frames`` that count as smoothed; None smooths (``raw``, or else
            ``frames``) with ``smoothing``.
        seen: what is smoothed instead, where there are frames between those compared that the
            truth says nothing of: all, in order; these have indices that aren't in the truth.
        fixed_frame: name of the frame that ``pose`` is told in.

    Raises:
        InputError: if no index is on both sides.
    """
    counts = counted or {}
    truth = {frame.index: frame for frame in true}
    found = seen or (frames if raw is None else raw)
    if measured is not None:
        smooth, smoother = [(frame, frame.bodies) for frame in measured], AS_RECORDED
    else:
        smooth = [
            (frame, tuple(person.body for person in people if not person.predicted))
            for frame, people in smooth_frames(found, smoothing, pose)
        ]
        detector = next((frame.detector for frame in found), "")
        smoother = BodySmoother(smoothing, detector).smoother
    over_time = partial(_over_time, truth=truth, counts=counts, pose=pose, fixed_frame=fixed_frame)
    reported = over_time([(frame, frame.bodies) for frame in frames])
    return Truth(
        accuracy=compare(frames, true, counts),
        switches=reported.motion.switches if _named(true) else None,
        before=reported if raw is None else over_time([(frame, frame.bodies) for frame in raw]),
        after=over_time(smooth),
        smoother=smoother,
    )


def _named(frames: Iterable[Iterable[Body]]) -> bool:
    """Whether somebody has an identity, or nobody is there at all."""
    everybody = [body for people in frames for body in people]
    return not everybody or any(body.id is not None for body in everybody)


def _over_time(
    frames: Sequence[tuple[BodyFrame, Sequence[Body]]],
    truth: Mapping[int, BodyFrame],
    counts: Mapping[int, NDArray[np.bool_]],
    pose: Callable[[BodyFrame], Float | None],
    fixed_frame: str,
) -> OverTime:
    """Measures of the people of frames, which the truth is looked up for by index."""
    tracks, identities = TrackCollector(), IdentityCollector()
    # People without identities, as before a tracker, do neither well nor badly at keeping them.
    named = _named(people for _, people in frames) and _named(truth.values())
    poses: dict[float, Float] = {}
    for frame, people in frames:
        there = truth.get(frame.index)
        if there is not None:
            counted = counts.get(frame.index, np.ones(len(there), np.bool_))
            tracks.add(there.stamp, people, there.bodies, counted, there.index)
            identities.add(people, there.bodies, counted)
            if (camera := pose(frame)) is not None:
                poses[there.stamp] = camera
    return OverTime(
        motion_numbers(tracks.tracks()),
        identity_numbers([identities]) if named and has_trackeval() else None,
        world_numbers(tracks.tracks(), poses, fixed_frame),
        tracks.stride,
    )
