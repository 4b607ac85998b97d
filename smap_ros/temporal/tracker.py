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
from smap_ros.temporal.agreement import boxes, distance, inside, similarity
from smap_ros.temporal.assignment import assign
from smap_ros.temporal.egomotion import Motion, TurnEstimator
from smap_ros.temporal.options import TrackerConfig
from smap_ros.temporal.smoothers.base import LEAST_DEPTH, believable
from smap_ros.temporal.tracks import CLEAR, Found, Tracks

# Pictures in a row that are older than the newest: so many are no stragglers, the clock was set.
LATE_IN_A_ROW = 3
# Pictures farther apart than this, seconds, and than so many times what the ones before were, may
# have a wrong stamp between them.
JUMP, UNUSUAL = 0.5, 3.0
# After so long a gap, seconds, a person may be anywhere that they may ever be found again.
REACH_TIME = 1.0
# Added to the cost of who wasn't seen in the frame before: where one of two who are near each other
# is seen, it is the one who was seen all the time.
LOST_COST = 0.2
# How far the camera may turn from one frame to the next with nothing to tell it: radians/second,
# for at most so many seconds.
SUDDEN_TURN, SUDDEN_TIME = 1.75, 0.1
# How fast who isn't seen gets away from where they are expected, metres/second: 68 of 100 people of
# virtual films were within it along the view, and within 0.3 across it.
DRIFT = 0.5
# Nearer to somebody known, metres, who is uncertain may be the same person found twice.
TWICE = 0.5
# Who appears with more of their box than this in that of somebody known is before or behind them.
CROSSING = 0.5
# In the cost of taking somebody for the person of a track: of who is certainly nobody, and that of
# who is found too badly to say where they are: for all tracks alike, and more than of who is clear.
DOUBT, UNSURE = 0.5, 1.0

# What was detected gets an identity; nobody is dropped for being unsure, nobody is invented.
DETECTIONS_ONLY = TrackerConfig(birth_score=0.0, fill_time=0.0)


@dataclass(frozen=True)
class TrackedBody:
    """A person with an identity.

    Attributes:
        body: the body; ``body.id`` is the identity.
        predicted: True when the person was not seen in this frame.
        spread: float64 [J], metres within which 68 of 100 joints about the root are right; NaN
            where a joint is missing. None where nobody knows: smoother ``maed`` tells it of those
            who were seen.
        place: float64 [3], where the tracker has the pelvis, metres: not where somebody badly
            seen seemed to be. None of people whom no tracker reports.
    """

    body: Body
    predicted: bool
    spread: NDArray[np.float64] | None = None
    place: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class _Past:
    """A tracker's memory before a frame whose time is a jump: its own fields of these names."""

    tracks: Tracks
    time: float
    before: float


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
        self._tracks = Tracks()
        self._turn = TurnEstimator()
        self._time = self._before = -math.inf  # of the latest frame, and of the one before
        self._past: _Past | None = None  # before the latest frame, if its time is a jump
        self._late_times: list[float] = []  # of the latest pictures, if they were late
        self._next_id = 0

    @property
    def people(self) -> int:
        """How many people are remembered."""
        return len(self._tracks)

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

    def goes_back(self, time: float) -> bool:
        """Whether a frame of that time goes on from before the latest one, whose stamp was wrong.

        A driver that stamps one image before its clock was set, or not at all, renames nobody.
        """
        past = self._past
        if past is None or not 0 <= time - past.time <= self.config.death_time:
            return False
        # Nearer to the latest frame it is the next one, or a straggler.
        return time > self._time + JUMP if past.time > self._time else time < self._time - JUMP

    def update(
        self, bodies: Sequence[Body], time: float, moved: Motion | None = None
    ) -> list[TrackedBody] | None:
        """Take the people of a frame.

        Args:
            bodies: people of the frame, in any order.
            time: of the frame, seconds. Where it :meth:`starts_anew`, everybody gets a new
                identity.
            moved: how the camera moved since the last frame, where that is known.

        Returns:
            Everybody with an identity, by ascending identity. None for a frame that came after a
            later one: nothing is known to have happened, and it is only counted.
        """
        if self.goes_back(time):
            self._take_up()
        elif self.starts_anew(time):
            far = self._time - time > self.config.death_time
            past = _Past(self._tracks, self._time, self._before) if far else None
            self.reset()
            self._past = past
        if time < self._time:
            self.late += 1
            self._late_times = [*self._late_times, time][-LATE_IN_A_ROW:]
            return None
        self._late_times.clear()
        self._remember(time)
        step = time - self._time if len(self._tracks) else 0.0
        # Pictures so far apart that everybody is forgotten in between: nobody can last.
        gaps = time - self._time, self._time - self._before
        apart = all(self.config.death_time < gap < math.inf for gap in gaps)
        self._before, self._time = self._time, time
        roots = np.reshape([body.root for body in bodies], (len(bodies), 3))
        (there,) = np.isfinite(believable(roots)[:, 0]).nonzero()
        placed = [bodies[k] for k in there.tolist()]
        found = Found(placed, self._tracks.joints.shape[1])
        if found.joints.shape[1] != self._tracks.joints.shape[1]:
            self._tracks = Tracks(found.joints.shape[1])
        tracks = self._tracks
        # Before anybody is matched: who was away for too long is gone, whoever stands there now.
        tracks.keep(time - tracks.seen <= self.config.death_time)
        tracks.advance(step)
        self._follow_camera(found, step, moved)
        pairs = self._pairs(found, turns=moved is None and self.config.estimate_turn)
        rows = np.array([row for row, _ in pairs], np.intp)
        matched = [column for _, column in pairs]
        tracks.see(rows, found.take(matched), time)
        tracks.follow_companions(rows)
        tracks.add(found.take(sorted(set(range(len(found))) - set(matched))), time)
        # Those without an identity were never reported; they must be seen in each frame.
        tracks.keep((tracks.id >= 0) | (tracks.seen == time))
        self._name(time)
        if apart:  # after the certain ones: others may be they, found twice
            self._name(time, at_once=True)
        return [self._report(row, time) for row in self._reported(time)]

    def reset(self) -> None:
        """Forget everybody; identities go on counting."""
        self._tracks = Tracks(self._tracks.joints.shape[1])
        self._turn.reset()
        self._late_times.clear()
        self._time = self._before = -math.inf
        self._past = None

    def _remember(self, time: float) -> None:
        """Keep what is known, if a frame of that time may have a wrong stamp."""
        gap = time - self._time
        if gap <= max(JUMP, UNUSUAL * (self._time - self._before)):
            self._past = None
        elif len(self._tracks):
            self._past = _Past(self._tracks.copy(), self._time, self._before)

    def _take_up(self) -> None:
        """Go on from before the latest frame; whom it gave an identity is forgotten."""
        assert self._past is not None
        past = self._past
        self.reset()
        self._tracks, self._time, self._before = past.tracks, past.time, past.before

    def _follow_camera(self, found: Found, step: float, moved: Motion | None) -> None:
        tracks = self._tracks
        tracks.learn_lens(found)
        if moved is None and self.config.estimate_turn and len(tracks):
            recent = tracks.seen >= self._time - step - REACH_TIME
            moved = self._turn.estimate(tracks.position[recent], found.root, step)
        if moved is not None:
            tracks.move(moved)

    def _name(self, time: float, *, at_once: bool = False) -> None:
        """Identities for those who are certain or have lasted, and are not somebody found twice.

        ``at_once``: for everybody.

        Who appears before or behind somebody known has to last however certain they are: a part
        of two people who cross may be a third one for a frame or two.
        """
        tracks, config = self._tracks, self.config
        certain = tracks.score >= config.birth_score
        lasting = (tracks.seen > tracks.born) & (time - tracks.born >= config.birth_time) | at_once
        known = (tracks.id >= 0) & (tracks.seen == time)
        apart = np.linalg.norm(tracks.position[:, None] - tracks.position[known][None], axis=2)
        alone = (apart >= TWICE).all(axis=1)
        crossing = inside(boxes(tracks.pixels), boxes(tracks.pixels[known])) > CROSSING
        free = ~crossing.any(axis=1) | (config.birth_score <= 0)  # 0: everybody at once
        named = certain & (lasting | free) | lasting & alone
        for row in np.flatnonzero((tracks.id < 0) & named):
            tracks.id[row] = self._next_id
            self._next_id += 1

    def _reported(self, time: float) -> list[int]:
        """Rows by ascending identity; who is behind the camera isn't told of its pictures."""
        tracks = self._tracks
        filled = (time - tracks.seen <= self.config.fill_time) & (self.config.fill_time > 0)
        filled &= tracks.position[:, 2] > LEAST_DEPTH
        shown = (tracks.id >= 0) & (~tracks.fading | filled)
        return sorted(np.flatnonzero(shown), key=lambda row: int(tracks.id[row]))

    def _report(self, row: int, time: float) -> TrackedBody:
        tracks = self._tracks
        body, identity = tracks.body[row], int(tracks.id[row])
        place = tracks.position[row].copy()
        if not tracks.fading[row]:
            return TrackedBody(replace(body, id=identity), predicted=False, place=place)
        gap = time - tracks.seen[row]
        fading = 1 - gap / (2 * self.config.fill_time)
        joints = tracks.joints[row]
        behind = ~(joints[:, 2:] > LEAST_DEPTH)  # no picture shows them
        body = replace(
            body,
            id=identity,
            joints_3d=joints.astype(np.float32),
            joints_2d=np.where(behind, np.nan, tracks.pixels[row]).astype(np.float32),
            scores=(body.scores * fading).astype(np.float32),
            score=body.score * fading,
            depth_std=math.hypot(body.depth_std, DRIFT * gap),
            mesh=None,
        )
        return TrackedBody(body, predicted=True, place=place)

    def _pairs(self, found: Found, turns: bool) -> list[tuple[int, int]]:
        """Tracks and the people of the frame that they are, with an identity first.

        Somebody of whom little shows may be found twice. The second one, who was never certain,
        must not take the person from who is known. Who is clearly seen and wasn't expected is
        compared with where people were last, as they may turn back, or the camera, if ``turns``.
        """
        if not len(self._tracks) or not len(found):
            return []
        tracks = self._tracks
        known, missed = tracks.id >= 0, tracks.seen < self._before
        cost = self._costs(found) + LOST_COST * missed[:, None]
        pairs = _assigned(cost, known, [])
        pairs = _assigned(cost, ~known, pairs)
        if len(pairs) < min(len(found), len(tracks)):
            back = self._away(tracks.last, found, turns=turns)
            clear = found.clarity >= CLEAR * tracks.usual[:, None]
            back = np.where((back <= 1) & clear, back, np.inf)
            pairs = _assigned(back, known & ~missed, pairs)
        return pairs

    def _costs(self, found: Found) -> NDArray[np.float64]:
        """Cost of each track (row) taking each body (column); infinite when out of reach."""
        tracks, weight = self._tracks, self.config.image_weight
        away = self._away(tracks.position, found)
        agreement = similarity(tracks.pixels, found.pixels)
        # Joints on top of each other in the image are one person whatever the depths say:
        # a single frame of wrong depth must not change an identity.
        total = (1 - weight) * away + weight * (1 - agreement)
        total += DOUBT * (1 - found.score)  # rather the one of two who is certainly there
        # Who is found badly may be anywhere: who is found well decides who is who.
        sure = np.clip(found.clarity / (CLEAR * np.maximum(tracks.usual[:, None], 1e-6)), 0, 1)
        total = UNSURE + sure * (total - UNSURE)
        return np.where((away <= 1) | (agreement > 0.5), total, np.inf)

    def _away(
        self, expected: NDArray[np.float64], found: Found, *, turns: bool = False
    ) -> NDArray[np.float64]:
        """Distance of bodies from where tracks are expected, 1 where it is as far as one may be.

        Args:
            expected: float64 [T, 3].
            found: the B bodies.
            turns: whether the camera may have turned without anybody telling.

        Returns:
            float64 [T, B].
        """
        config, lost = self.config, np.minimum(self._tracks.lost, REACH_TIME)
        lateral = np.maximum(config.max_lateral + config.max_speed * lost, 1e-6)
        range_ = np.linalg.norm(expected, axis=1)
        depth = lateral + config.max_depth * range_
        if turns:
            lateral = lateral + SUDDEN_TURN * np.minimum(lost, SUDDEN_TIME) * range_
        return distance(expected, found.root, lateral, depth)


def _assigned(
    cost: NDArray[np.float64], rows: NDArray[np.bool_], pairs: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The pairs, and the best of ``rows`` with what these leave."""
    if not rows.any():
        return pairs
    left = np.where(rows[:, None], cost, np.inf)
    if pairs:
        taken, columns = zip(*pairs, strict=True)
        left[list(taken)] = np.inf
        left[:, list(columns)] = np.inf
    return [*pairs, *assign(left)]
