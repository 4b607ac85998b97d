"""Which person of this frame is which person of the frames before.

A track predicts where its person is now, at constant, fading velocity. Detections are
assigned to tracks by the distance of the pelvis in space, measured in what a single camera
can tell (well across the view, badly along it), and by how well joints and boxes agree in the
image. Nothing here counts frames: all rules are in seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.temporal.assignment import assign
from smap_ros.temporal.options import TrackerConfig

Float = NDArray[np.float32]

VELOCITY_MEMORY = 0.25  # seconds over which a track's velocity is learnt and forgotten
POSITION_MEMORY = 0.05  # seconds over which noise of a track's position is averaged away
# Pictures in a row that are older than the newest: so many are no stragglers, the clock was set.
LATE_IN_A_ROW = 3
# Joint distances are compared with this share of the person's height in the image; as COCO's
# object keypoint similarity with one constant for all joints (hip and shoulder are about 0.1).
JOINT_TOLERANCE = 0.1

# What was detected gets an identity; nobody is dropped for being unsure, nobody is invented.
DETECTIONS_ONLY = TrackerConfig(birth_score=0.0, fill_time=0.0)


@dataclass(frozen=True)
class TrackedBody:
    """A person with an identity.

    Attributes:
        body: the body; ``body.id`` is the identity.
        predicted: True when the person was not seen in this frame.
    """

    body: Body
    predicted: bool


class Tracker:
    """Gives people identities that are never used twice while the tracker lives.

    Args:
        config: rules; may be replaced at any time.

    Attributes:
        late: frames that came after a later one, and were left out.
    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self.late = 0
        self._tracks: list[_Track] = []
        self._time = -math.inf
        self._late_times: list[float] = []  # of the latest pictures, if they were late
        self._next_id = 0

    def starts_anew(self, time: float) -> bool:
        """Whether a frame of that time begins another recording.

        A bag that starts again or a clock that was set does; a frame or two that are only a
        little late don't.
        """
        if time >= self._time:
            return False
        if self._time - time > self.config.death_time:
            return True
        times = [*self._late_times, time][-LATE_IN_A_ROW:]
        ascending = all(a < b for a, b in itertools.pairwise(times))
        return ascending and len(times) >= LATE_IN_A_ROW

    def update(self, bodies: Sequence[Body], time: float) -> list[TrackedBody] | None:
        """Take the people of a frame.

        Args:
            bodies: people of the frame, in any order.
            time: of the frame, seconds. Where it :meth:`starts_anew`, everybody gets a new
                identity.

        Returns:
            Everybody with an identity, by ascending identity. None for a frame that came after a
            later one: nothing is known to have happened, and it is only counted.
        """
        if self.starts_anew(time):
            self.reset()
        if time < self._time:
            self.late += 1
            self._late_times = [*self._late_times, time][-LATE_IN_A_ROW:]
            return None
        self._late_times.clear()
        self._time = time
        # Before anybody is matched: who was away for too long is gone, whoever stands there now.
        self._tracks = [t for t in self._tracks if time - t.seen <= self.config.death_time]
        placed = [body for body in bodies if np.isfinite(body.root).all()]
        cost = self._costs(placed, time)
        unmatched = set(range(len(placed)))
        for row, column in assign(cost):
            self._tracks[row].see(placed[column], time)
            unmatched.discard(column)
        self._tracks += [_Track(placed[k], time) for k in sorted(unmatched)]
        self._tracks = [t for t in self._tracks if self._survives(t, time)]
        for track in self._tracks:
            self._name(track, time)
        reported = (self._report(track, time) for track in self._tracks)
        return sorted((r for r in reported if r is not None), key=_identity)

    def reset(self) -> None:
        """Forget everybody; identities go on counting."""
        self._tracks.clear()
        self._late_times.clear()
        self._time = -math.inf

    def _survives(self, track: _Track, time: float) -> bool:
        """Those without an identity were never reported; they must be seen in each frame."""
        return track.id is not None or track.seen == time

    def _name(self, track: _Track, time: float) -> None:
        certain = track.body.score >= self.config.birth_score
        lasting = track.seen > track.born and time - track.born >= self.config.birth_time
        if track.id is None and (certain or lasting):
            track.id = self._next_id
            self._next_id += 1

    def _report(self, track: _Track, time: float) -> TrackedBody | None:
        if track.id is None:
            return None
        gap = time - track.seen
        if gap == 0:
            return TrackedBody(replace(track.body, id=track.id), predicted=False)
        if gap > self.config.fill_time:
            return None
        body = track.predict(time)
        fading = 1 - gap / (2 * self.config.fill_time)
        scores = (body.scores * fading).astype(np.float32)
        body = replace(body, id=track.id, score=body.score * fading, scores=scores)
        return TrackedBody(body, predicted=True)

    def _costs(self, bodies: Sequence[Body], time: float) -> NDArray[np.float64]:
        """Cost of each track (row) taking each body (column); infinite when out of reach."""
        cost = np.full((len(self._tracks), len(bodies)), np.inf)
        if not cost.size:
            return cost
        roots = np.stack([body.root for body in bodies]).astype(np.float64)  # [B, 3]
        pixels = np.stack([body.joints_2d for body in bodies]).astype(np.float64)  # [B, J, 2]
        for row, track in enumerate(self._tracks):
            predicted = track.predict(time)
            away = self._distance(predicted.root, roots, time - track.seen)
            agreement = _similarity(predicted.joints_2d, pixels)
            weight = self.config.image_weight
            total = (1 - weight) * away + weight * (1 - agreement)
            # Joints on top of each other in the image are one person whatever the depths say:
            # a single frame of wrong depth must not change an identity.
            cost[row] = np.where((away <= 1) | (agreement > 0.5), total, np.inf)
        return cost

    def _distance(
        self, predicted: Float, roots: NDArray[np.float64], gap: float
    ) -> NDArray[np.float64]:
        """Distance to a prediction, in units of what is allowed; float64 [B]."""
        config = self.config
        ray = predicted / max(float(np.linalg.norm(predicted)), 1e-6)
        offset = roots - predicted
        along = offset @ ray
        across = np.linalg.norm(offset - along[:, None] * ray, axis=1)
        lateral = max(config.max_lateral + config.max_speed * gap, 1e-6)
        depth = lateral + config.max_depth * float(np.linalg.norm(predicted))
        away: NDArray[np.float64] = np.hypot(across / lateral, along / depth)
        return away


class _Track:
    """One person over time; ``seen`` and ``born`` are seconds."""

    def __init__(self, body: Body, time: float) -> None:
        self.id: int | None = None
        self.body = body
        self.born = self.seen = time
        self._position = body.root.astype(np.float64)  # metres, noise averaged away
        self._velocity = np.zeros(3)  # metres/second
        self._drift = np.zeros(2)  # pixels/second

    def see(self, body: Body, time: float) -> None:
        """The person was seen."""
        gap = time - self.seen
        if gap > 0:
            weight = 1 - math.exp(-gap / VELOCITY_MEMORY)
            before = self._position
            expected = before + self._velocity * _reach(gap)
            trust = max(0.5, 1 - math.exp(-gap / POSITION_MEMORY))
            self._position = expected + trust * (body.root - expected)
            self._velocity += weight * ((self._position - before) / gap - self._velocity)
            moved = _mean_motion(self.body.joints_2d, body.joints_2d)
            if moved is not None:
                self._drift += weight * (moved / gap - self._drift)
        self.body, self.seen = body, time

    def predict(self, time: float) -> Body:
        """Where the person should be: as last seen, moved on at fading velocity."""
        reach = _reach(time - self.seen)
        shift = self._position + self._velocity * reach - self.body.root
        joints_3d = self.body.joints_3d + shift.astype(np.float32)
        joints_2d = self.body.joints_2d + (self._drift * reach).astype(np.float32)
        return replace(self.body, joints_3d=joints_3d, joints_2d=joints_2d)


def _reach(gap: float) -> float:
    """Seconds of motion at the last velocity in a time over which that velocity fades."""
    return VELOCITY_MEMORY * (1 - math.exp(-gap / VELOCITY_MEMORY))


def _identity(tracked: TrackedBody) -> int:
    return -1 if tracked.body.id is None else tracked.body.id


def _mean_motion(before: Float, after: Float) -> NDArray[np.float64] | None:
    """Mean motion in the image of the joints present in both; pixels [2]."""
    moved = (after - before).astype(np.float64)
    both = np.isfinite(moved).all(axis=1)
    return moved[both].mean(axis=0) if both.any() else None


def _similarity(joints: Float, others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Agreement in the image of one person with others, in [0, 1].

    The mean of the similarity of joints and the overlap of the boxes.

    Args:
        joints: float32 [J, 2], pixels.
        others: float64 [B, J, 2], pixels.
    """
    low, high = _boxes(joints[None].astype(np.float64))
    size = max(float((high - low).max()), 10.0)
    squared = ((others - joints) ** 2).sum(axis=2)  # [B, J]
    both = np.isfinite(squared)
    close = np.exp(-np.where(both, squared, 0) / (2 * (JOINT_TOLERANCE * size) ** 2))
    okay = (close * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    similarity: NDArray[np.float64] = (okay + _overlap((low, high), _boxes(others))) / 2
    return similarity


_Boxes = tuple[NDArray[np.float64], NDArray[np.float64]]


def _boxes(points: NDArray[np.float64]) -> _Boxes:
    """Low and high corners, [B, 2] each, of points [B, J, 2]; those of nobody have no extent."""
    present = np.isfinite(points)
    low = np.where(present, points, np.inf).min(axis=1)
    high = np.where(present, points, -np.inf).max(axis=1)
    nobody = ~np.isfinite(low)
    low[nobody], high[nobody] = 0, 0
    return low, high


def _overlap(a: _Boxes, b: _Boxes) -> NDArray[np.float64]:
    """Intersection over union of one box with others, or of pairs of boxes."""
    inner = np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None).prod(axis=1)
    total = (a[1] - a[0]).prod(axis=1) + (b[1] - b[0]).prod(axis=1) - inner
    overlap: NDArray[np.float64] = np.where(total > 0, inner / np.maximum(total, 1e-9), 0.0)
    return overlap
