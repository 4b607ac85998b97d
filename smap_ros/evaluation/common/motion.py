"""How well people's motion is told: errors, trembling, lag, and bones that change their length.

Measures are of true people over the pictures of their films; where a person was missed there is
nothing to measure.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.evaluation.common.identities import Pairing
from smap_ros.evaluation.common.metrics import pa_mpjpe
from smap_ros.skeletons import MPI15

Float = NDArray[np.float64]

WALKING = 0.5  # metres/second of the pelvis over a film, above which lag is measured
_MAX_LAG = 6  # pictures
_SPAN = 5  # pictures over which the way of a pelvis is taken, so that noise counts for little
_LONGEST_GAP = 2 * (_SPAN + _MAX_LAG)  # pictures; no measure reaches across it


@dataclass(frozen=True)
class Track:
    """A true person over T pictures that follow one another, a step apart.

    Attributes:
        true: float64 [T, 15, 3], metres; NaN where they don't count.
        found: float64 [T, 15, 3], what was reported of them; NaN where missing.
            A picture that wasn't looked at, or where the person wasn't, is a row of NaN in both.
        ids: int64 [T], identity of who was reported; -1 where nobody was, or without one.
        stamps: float64 [T], seconds.
    """

    true: Float
    found: Float
    ids: NDArray[np.int64]
    stamps: Float


@dataclass(frozen=True)
class MotionNumbers:
    """Measures over tracks; NaN where nothing gives one.

    Attributes:
        people: tracks; poses: pictures of people who were found.
        mpjpe_mm, pa_mpjpe_mm: mean joint error, pelvises aligned, and after Procrustes.
        acceleration: mean error of p[t+1] - 2 p[t] + p[t-1] of joints where they are, millimetres
            per picture squared; relative_acceleration: about the pelvis. Of pictures that follow
            one another only, as is jerk.
        jerk: mean third difference of the joints about the pelvis as a share of the truth's; 1 is
            as lively.
        bones_percent: standard deviation of a bone's length over a track, as a share of it.
        depth_percent: median of |error of the pelvis' depth| / depth.
        lag: pictures by which walking people are reported late, by cross-correlation of their
            speed with the truth's.
        switches: how often a person had another identity than when last found.
    """

    people: int
    poses: int
    mpjpe_mm: float
    pa_mpjpe_mm: float
    acceleration: float
    relative_acceleration: float
    jerk: float
    bones_percent: float
    depth_percent: float
    lag: float
    switches: int


@dataclass(frozen=True)
class WorldNumbers:
    """Measures of joints in a frame that stands still, where the camera's pose is known.

    Attributes:
        frame: its name.
        mpjpe_mm: mean error of joints where they are.
        acceleration: as in :class:`MotionNumbers`, of joints where they are.
        jerk: mean third difference of the joints as a share of the truth's.
    """

    frame: str
    mpjpe_mm: float
    acceleration: float
    jerk: float


class TrackCollector:
    """Gathers tracks of the people of one film, picture by picture; see :class:`Pairing`."""

    def __init__(self) -> None:
        self._pairing = Pairing()
        self._numbers: list[int] = []
        self._rows: dict[int, list[_Row]] = {}

    @property
    def stride(self) -> int:
        """Pictures of the film from one that was taken to the next, as usual: a step of tracks."""
        steps = Counter(b - a for a, b in itertools.pairwise(self._numbers) if b > a)
        return min(steps, key=lambda step: (-steps[step], step), default=1)

    def add(
        self,
        stamp: float,
        found: Sequence[Body],
        true: Sequence[Body],
        counted: NDArray[np.bool_],
        number: int | None = None,
    ) -> None:
        """Take a picture.

        Args:
            stamp: seconds.
            found: who was reported, mpi15.
            true: who is there, with identities.
            counted: bool [true], whose errors count.
            number: of the picture in its film; without, it is the one after the last taken.
        """
        if number is None:
            number = self._numbers[-1] + 1 if self._numbers else 0
        self._numbers.append(number)
        partner = {t: found[p] for p, t in self._pairing.bodies(found, true)}
        for k, person in enumerate(true):
            if person.id is None:
                continue
            body = partner.get(k) if counted[k] else None
            joints = np.full((len(MPI15), 3), np.nan) if body is None else body.joints_3d
            identity = -1 if body is None or body.id is None else body.id
            row = _Row(
                number,
                stamp,
                person.joints_3d.astype(np.float64),
                joints.astype(np.float64),
                identity,
            )
            self._rows.setdefault(person.id, []).append(row)

    def tracks(self) -> list[Track]:
        """The tracks of all true people."""
        return [_laid_out(rows, self.stride) for rows in self._rows.values()]


class _Row(NamedTuple):
    """A true person in one picture, as :class:`Track` has them."""

    number: int
    stamp: float
    true: Float
    found: Float
    id: int


def _laid_out(rows: Sequence[_Row], stride: int) -> Track:
    """A track of which pictures a stride apart are neighbours, and others have a gap between."""
    numbers, stamps, true, found, ids = zip(*rows, strict=True)
    apart = np.diff(numbers)
    steps = np.where(apart == stride, 1, np.clip(np.rint(apart / stride), 2, _LONGEST_GAP))
    places = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    length = int(places[-1]) + 1
    unknown = np.full((length, len(MPI15), 3), np.nan)
    track = Track(
        true=unknown,
        found=unknown.copy(),
        ids=np.full(length, -1, np.int64),
        stamps=np.interp(np.arange(length), places, stamps),
    )
    track.true[places], track.found[places], track.ids[places] = true, found, ids
    track.stamps[places] = stamps  # exactly, as poses of the camera are looked up by them
    return track


def identity_switches(
    frames: Iterable[BodyFrame],
    true: Iterable[BodyFrame],
    counted: Mapping[int, NDArray[np.bool_]] | None = None,
) -> int:
    """How often a true person had another identity than when last found; see :class:`Pairing`.

    Args:
        frames: people found, with identities, in order.
        true: who was there, with identities; frames are compared where their indices are equal.
        counted: who must be found, as :func:`~smap_ros.evaluation.common.metrics.compare` has it.
    """
    truth = {frame.index: frame for frame in true}
    collector = TrackCollector()
    for frame in frames:
        there = truth.get(frame.index)
        if there is not None:
            counts = (counted or {}).get(there.index, np.ones(len(there), np.bool_))
            collector.add(there.stamp, frame.bodies, there.bodies, counts)
    return sum(changes(track.ids) for track in collector.tracks())


def motion_numbers(tracks: Sequence[Track]) -> MotionNumbers:
    """The measures of tracks."""
    found = [t for t in tracks if np.isfinite(t.found).any()]
    about = [_about_root(t) for t in found]
    joints = [np.linalg.norm(t.found - t.true, axis=2) for t in about]
    poses = [_rowwise(np.nanmean, rows) for rows in joints]
    aligned = [
        [pa_mpjpe(a, b) for a, b in zip(t.found, t.true, strict=True) if np.isfinite(a).any()]
        for t in found
    ]
    root = MPI15.root
    depth = [np.abs(t.found[:, root, 2] / t.true[:, root, 2] - 1) for t in found]
    return MotionNumbers(
        people=len(found),
        poses=sum(int(np.isfinite(rows).sum()) for rows in poses),
        mpjpe_mm=1000 * _over(np.mean, poses),
        pa_mpjpe_mm=1000 * _over(np.mean, aligned),
        acceleration=1000 * _over(np.mean, [_difference_error(t, 2) for t in found]),
        relative_acceleration=1000 * _over(np.mean, [_difference_error(t, 2) for t in about]),
        jerk=_jerk(about),
        bones_percent=100 * _over(np.mean, [_bone_spread(t.found) for t in found]),
        depth_percent=100 * _over(np.median, depth),
        lag=_over(np.mean, [[lag(t)] for t in found]),
        switches=sum(changes(t.ids) for t in found),
    )


def world_numbers(
    tracks: Sequence[Track], poses: Mapping[float, Float], frame: str
) -> WorldNumbers | None:
    """Measures of tracks in a frame that stands still.

    Args:
        tracks: in the camera's optical frame.
        poses: of the camera in that frame, float64 [4, 4], by stamp, where they are known.
        frame: its name.

    Returns:
        None where no pose of any picture is known.
    """
    if not any(stamp in poses for track in tracks for stamp in track.stamps.tolist()):
        return None
    still = [_placed(track, poses) for track in tracks]
    errors = [np.linalg.norm(t.found - t.true, axis=2) for t in still]
    return WorldNumbers(
        frame=frame,
        mpjpe_mm=1000 * _over(np.mean, errors),
        acceleration=1000 * _over(np.mean, [_difference_error(t, 2) for t in still]),
        jerk=_jerk(still),
    )


def _placed(track: Track, poses: Mapping[float, Float]) -> Track:
    """A track in the frame that the camera's poses are told in; NaN where these are unknown."""
    unknown = np.full((4, 4), np.nan)
    pose = np.stack([poses.get(stamp, unknown) for stamp in track.stamps.tolist()])  # [T, 4, 4]
    turn, shift = pose[:, None, :3, :3], pose[:, None, :3, 3]
    true, found = (
        (turn @ joints[..., None])[..., 0] + shift for joints in (track.true, track.found)
    )
    return Track(true, found, track.ids, track.stamps)


def lag(track: Track) -> float:
    """Pictures by which a walking person is reported late; NaN of those who don't walk.

    The way of the pelvis across the view is compared, shifted against the truth's: its direction at
    the true depth, as along the view a camera tells too little.
    """
    root = MPI15.root
    true, depth = track.true[:, root, :2], track.true[:, root, 2:]
    found = track.found[:, root, :2] / track.found[:, root, 2:] * depth
    way = np.linalg.norm(np.diff(true, axis=0), axis=1)
    known = np.isfinite(way)
    duration = np.diff(track.stamps)[known].sum()
    if np.isfinite(found).all(axis=1).sum() < 4 * _MAX_LAG or duration <= 0:
        return math.nan
    if way[known].sum() / duration < WALKING:
        return math.nan
    ways = [points[_SPAN:] - points[:-_SPAN] for points in (true, found)]
    shifts = np.arange(-_MAX_LAG, _MAX_LAG + 1)
    errors = np.array([_shifted_error(ways[0], ways[1], int(shift)) for shift in shifts])
    if not np.isfinite(errors).all():
        return math.nan
    best = int(errors.argmin())
    if best in (0, len(shifts) - 1):
        return float(shifts[best])
    before, here, after = errors[best - 1 : best + 2]
    curvature = before - 2 * here + after
    return float(shifts[best] + ((before - after) / (2 * curvature) if curvature > 0 else 0.0))


def _shifted_error(true: Float, found: Float, shift: int) -> float:
    """Mean squared difference of the ways found from the true ones ``shift`` pictures before."""
    last = len(true)
    now = slice(max(shift, 0), last + min(shift, 0))
    then = slice(max(-shift, 0), last - max(shift, 0))
    off = found[now] - true[then]  # the ways of _SPAN pictures
    squared = (off**2).sum(axis=1)
    squared = squared[np.isfinite(squared)]
    return float(squared.mean()) if len(squared) else math.nan


def _about_root(track: Track) -> Track:
    root = slice(MPI15.root, MPI15.root + 1)
    return Track(
        track.true - track.true[:, root],
        track.found - track.found[:, root],
        track.ids,
        track.stamps,
    )


def _difference_error(track: Track, order: int) -> Float:
    """Mean over the joints of the error of an ``order``-th difference, float64 [T - order]."""
    off = np.diff(track.found - track.true, order, axis=0)
    return _rowwise(np.nanmean, np.linalg.norm(off, axis=2))


def _jerk(tracks: Iterable[Track]) -> float:
    """Mean third difference of the joints found, over the truth's of the same."""
    found, true = [], []
    for track in tracks:
        ours = np.linalg.norm(np.diff(track.found, 3, axis=0), axis=2)
        theirs = np.linalg.norm(np.diff(track.true, 3, axis=0), axis=2)
        there = np.isfinite(ours) & np.isfinite(theirs)
        found.append(ours[there].sum())
        true.append(theirs[there].sum())
    total = sum(true)
    return float(sum(found) / total) if total > 0 else math.nan


def _bone_spread(found: Float) -> Float:
    """Standard deviation over mean of each bone's length, float64 [limbs]."""
    ends = np.array(MPI15.limbs)
    lengths = np.linalg.norm(found[:, ends[:, 0]] - found[:, ends[:, 1]], axis=2)
    lengths = lengths[np.isfinite(lengths).all(axis=1)]
    if len(lengths) < 2:
        return np.full(len(ends), np.nan)
    spread: Float = lengths.std(axis=0) / lengths.mean(axis=0)
    return spread


def changes(ids: NDArray[np.int64]) -> int:
    """How often somebody had another identity than when last found; -1 is none."""
    known = ids[ids >= 0]
    return int((known[1:] != known[:-1]).sum())


def _rowwise(measure: Callable[..., Float], rows: Float) -> Float:
    """A measure of each row, NaN of those without a number."""
    out = np.full(len(rows), np.nan)
    there = np.isfinite(rows).any(axis=1)
    if there.any():
        out[there] = measure(rows[there], axis=1)
    return out


def _over(
    measure: Callable[[Float], np.floating], parts: Iterable[Sequence[float] | Float]
) -> float:
    """A measure over all numbers of all parts; NaN without any."""
    values = np.concatenate(
        [np.asarray(part, np.float64).ravel() for part in parts] or [np.zeros(0)]
    )
    values = values[np.isfinite(values)]
    return float(measure(values)) if len(values) else math.nan
