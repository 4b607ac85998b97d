"""The state of all tracks, as arrays: one row a person."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, were_seen
from smap_ros.temporal.egomotion import Motion
from smap_ros.temporal.smoothers.base import FARTHEST_PX, LEAST_DEPTH, believable

Float = NDArray[np.float64]

VELOCITY_MEMORY = 0.25  # seconds over which a track's velocity is learnt
POSITION_MEMORY = 0.05  # seconds over which noise of a track's position is averaged away
# Seconds over which the velocity of a person who isn't seen fades: across the view, and along it,
# where it is little more than noise.
FADE_ACROSS, FADE_ALONG = 0.6, 0.15
# Somebody lost beside a person who is seen and moves alike goes on as that person does: metres
# between pelvises, metres/second, and the latter over the faster one's speed: who stands isn't
# company for who passes slowly, nor are two who come towards each other.
COMPANION, TOGETHER, ALIKE = 1.0, 0.8, 0.7
_LENS_MEMORY = 0.9  # weight that earlier frames keep in the focal length

CLEAR = 0.8  # of the usual clarity; below, a person is found badly
_SURE_MEMORY = 0.9  # weight that earlier frames keep in how wrong a person's distance usually is

_COLUMNS = (
    "id", "position", "last", "velocity", "joints", "pixels", "drift", "seen", "born", "score",
    "fading", "doubt", "usual", "lost",
)  # fmt: skip


class Found:
    """The B people of a frame as arrays.

    Attributes:
        body: they.
        joints, pixels: float64 [B, J, 3], [B, J, 2].
        root: float64 [B, 3]; score: float64 [B].
        clarity: float64 [B], how well they were seen: the mean of all joints' scores, those that
            weren't seen being 0.
        doubt: float64 [B], deviation of the distance over the distance; NaN where it isn't told.
    """

    def __init__(self, bodies: Sequence[Body], joints: int) -> None:
        self.body = list(bodies)
        count = len(self.body)
        shape = (count, len(self.body[0].skeleton) if count else joints)
        self.joints = believable(np.reshape([b.joints_3d for b in bodies], (*shape, 3)))
        pixels = np.reshape([b.joints_2d for b in bodies], (*shape, 2))
        self.pixels = believable(pixels, FARTHEST_PX)
        self.root = self.joints[:, self.body[0].skeleton.root] if count else np.zeros((0, 3))
        self.score = np.nan_to_num(np.array([b.score for b in bodies], np.float64))
        scores = np.reshape([b.scores for b in bodies], shape)
        self.clarity = np.where(were_seen(scores), scores, 0.0).mean(axis=1)
        told = np.array([b.depth_std for b in bodies], np.float64)
        self.doubt = np.where((told > 0) & np.isfinite(told), told, np.nan) / np.maximum(
            self.root[:, 2], 1e-6
        )

    def __len__(self) -> int:
        return len(self.body)

    def take(self, rows: Sequence[int]) -> Found:
        """Some of them."""
        out = object.__new__(Found)
        out.body = [self.body[k] for k in rows]
        index = np.array(rows, np.intp)
        for name in ("joints", "pixels", "root", "score", "clarity", "doubt"):
            setattr(out, name, getattr(self, name)[index])
        return out


class Tracks:
    """T people of J joints.

    Attributes:
        id: int64 [T]; -1 before a person has an identity.
        body: as last seen.
        position, velocity: float64 [T, 3] of the pelvis now, metres, noise averaged away.
        last: float64 [T, 3], position when last seen, from where the camera is now.
        joints, pixels: float64 [T, J, 3], [T, J, 2] where they should be now; NaN where missing.
        drift: float64 [T, 2], pixels/second.
        seen, born: float64 [T], times in seconds.
        score: float64 [T], as last seen.
        fading: bool [T], not seen in the latest frame: velocity fades.
        doubt: float64 [T], as in :class:`Found`, what is usual for this person.
        usual: float64 [T], clarity that is usual for this person.
        lost: float64 [T], seconds for which nobody knows where this person is: since they were
            seen; a bad glimpse ends it in part.
    """

    def __init__(self, joints: int = 15) -> None:
        self.id = np.zeros(0, np.int64)
        self.body: list[Body] = []
        self.position, self.last = np.zeros((0, 3)), np.zeros((0, 3))
        self.velocity = np.zeros((0, 3))
        self.joints, self.pixels = np.zeros((0, joints, 3)), np.zeros((0, joints, 2))
        self.drift = np.zeros((0, 2))
        self.seen, self.born, self.score = np.zeros(0), np.zeros(0), np.zeros(0)
        self.fading = np.zeros(0, np.bool_)
        self.doubt, self.usual, self.lost = np.zeros(0), np.zeros(0), np.zeros(0)
        self._lens = np.zeros((2, 2))  # weight, and weighted focal length, by axis
        self._middle = np.zeros((3, 2))  # weight, and weighted means of rays and pixels, by axis

    def __len__(self) -> int:
        return len(self.id)

    def copy(self) -> Tracks:
        """The same, which stays as it is when these move on."""
        out = object.__new__(Tracks)
        for name in (*_COLUMNS, "_lens", "_middle"):
            setattr(out, name, getattr(self, name).copy())
        out.body = list(self.body)
        return out

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget those whose mask is False."""
        if mask.all():
            return
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name)[mask])
        self.body = [body for body, kept in zip(self.body, mask, strict=True) if kept]

    def add(self, found: Found, time: float) -> None:
        """People who were never seen before."""
        count = len(found)
        if not count:
            return
        new = {
            "id": np.full(count, -1, np.int64),
            "position": found.root,
            "last": found.root,
            "fading": np.zeros(count, np.bool_),
            "velocity": np.zeros((count, 3)),
            "joints": found.joints,
            "pixels": found.pixels,
            "drift": np.zeros((count, 2)),
            "seen": np.full(count, time),
            "born": np.full(count, time),
            "score": found.score,
            "doubt": found.doubt,
            "usual": found.clarity,
            "lost": np.zeros(count),
        }
        for name in _COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), new[name]]))
        self.body = [*self.body, *found.body]

    def advance(self, step: float) -> None:
        """Move everybody on by ``step`` seconds, at fading velocity."""
        unseen = self.fading[:, None].copy()
        self.fading[:] = True  # until they are seen
        self.lost += step
        if step <= 0 or not len(self):
            return
        ray = self.position / np.maximum(np.linalg.norm(self.position, axis=1, keepdims=True), 1e-6)
        along = (self.velocity * ray).sum(axis=1, keepdims=True) * ray
        across = self.velocity - along
        self._shift(across * _reach(step, FADE_ACROSS) + along * _reach(step, FADE_ALONG))
        self.pixels += self.drift[:, None] * _reach(step, FADE_ACROSS)
        fading = np.where(unseen, math.exp(-step / FADE_ACROSS), 1.0)
        self.velocity = across * fading + along * np.where(
            unseen, math.exp(-step / FADE_ALONG), 1.0
        )
        self.drift = self.drift * fading

    def move(self, moved: Motion) -> None:
        """The camera moved: everything is seen from elsewhere."""
        before = self._shown()
        self.position, self.last = moved.points(self.position), moved.points(self.last)
        self.velocity = moved.vectors(self.velocity)
        self.joints = moved.points(self.joints)
        now = self._shown()
        if now is None or before is None:
            return
        # Each joint by its own way in the picture; who comes from behind the camera has no other
        # place there than where a pinhole shows them.
        pixels = self.pixels + (now - before)
        self.pixels = np.where(np.isfinite(pixels), pixels, now)

    def _shown(self) -> Float | None:
        """Where a pinhole camera as learnt shows the joints, [N, J, 2] pixels; NaN behind it."""
        weight, focal = self._lens
        if not (weight > 0).all():
            return None
        count, rays, pixels = self._middle
        centre = (pixels - focal / weight * rays) / count
        ahead = np.where(self.joints[..., 2:] > LEAST_DEPTH, self.joints[..., 2:], np.nan)
        shown: Float = self.joints[..., :2] / ahead * focal / weight + centre
        return shown

    def see(self, rows: NDArray[np.intp], found: Found, time: float) -> None:
        """Those of ``rows`` were seen."""
        if not len(rows):
            return
        gap = (time - self.seen[rows])[:, None]
        moving = gap[:, 0] > 0
        gap = np.maximum(gap, 1e-9)
        expected = self.position[rows]
        root = self._weighed(rows, found)
        clear = self._clear(rows, found)
        trust = np.maximum(0.5, 1 - np.exp(-gap / POSITION_MEMORY)) * clear
        position = expected + trust * (root - expected)
        weight = (1 - np.exp(-gap / VELOCITY_MEMORY)) * clear
        velocity = self.velocity[rows]
        velocity = velocity + weight * ((position - self.last[rows]) / gap - velocity)
        drift = self.drift[rows]
        drift = drift + weight * (_mean_motion(self.pixels[rows], found.pixels) / gap)
        self.position[rows] = self.last[rows] = np.where(moving[:, None], position, root)
        self.fading[rows] = False
        self.lost[rows] *= 1 - clear[:, 0]
        self.velocity[rows] = np.where(moving[:, None], velocity, self.velocity[rows])
        self.drift[rows] = np.where(moving[:, None], drift, self.drift[rows])
        self.joints[rows] = found.joints
        self.pixels[rows] = found.pixels
        self.seen[rows] = time
        self.score[rows] = found.score
        for row, body in zip(rows, found.body, strict=True):
            self.body[row] = body

    def _clear(self, rows: NDArray[np.intp], found: Found) -> Float:
        """How far to believe where people were found, 0 to 1, [N, 1]: by clarity beside the usual.

        What is left to see of somebody who goes behind somebody else is found, but badly, and may
        be another's; who is small or in the dark is never clear and loses nothing.
        """
        usual = self.usual[rows]
        self.usual[rows] = _SURE_MEMORY * usual + (1 - _SURE_MEMORY) * found.clarity
        ratio = found.clarity / np.maximum(usual, 1e-6)
        clear: Float = np.clip(ratio / CLEAR, 0, 1)[:, None] ** 2
        return clear

    def _weighed(self, rows: NDArray[np.intp], found: Found) -> Float:
        """Where people were found, but as far away as the doubts about it let one believe.

        Of somebody of whom only an arm is left to see the distance is a guess, and says so. Their
        direction is not: they are moved along their ray towards where they were expected.
        """
        away = np.linalg.norm(found.root, axis=1, keepdims=True)
        ray = found.root / np.maximum(away, 1e-6)
        expected = (self.position[rows] * ray).sum(axis=1, keepdims=True)
        usual, told = self.doubt[rows], found.doubt
        believed = np.minimum(1.0, (usual / told) ** 2)
        believed = np.where(np.isfinite(believed), believed, 1.0)[:, None]
        learnt = _SURE_MEMORY * usual + (1 - _SURE_MEMORY) * np.fmin(told, 2 * usual)
        self.doubt[rows] = np.where(np.isfinite(learnt), learnt, told)
        placed: Float = found.root + (1 - believed) * (expected - away) * ray
        return placed

    def follow_companions(self, seen: NDArray[np.intp]) -> None:
        """Who isn't seen beside somebody who is goes on as that person does.

        Two people who walk side by side and are seen as one for a while split again where they
        would be expected then.
        """
        lost = np.setdiff1d(np.arange(len(self)), seen)
        if not len(lost) or not len(seen):
            return
        apart = np.linalg.norm(
            self.position[lost, None, :2] - self.position[None, seen, :2], axis=2
        )
        nearest = apart.argmin(axis=1)
        close = apart[np.arange(len(lost)), nearest] < COMPANION
        ours, theirs = self.velocity[lost, :2], self.velocity[seen[nearest], :2]
        faster = np.maximum(np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1))
        unlike = np.linalg.norm(ours - theirs, axis=1)
        close &= (unlike < TOGETHER) & (unlike < ALIKE * faster)
        self.velocity[lost[close]] = self.velocity[seen[nearest[close]]]
        self.drift[lost[close]] = self.drift[seen[nearest[close]]]

    def learn_lens(self, found: Found) -> None:
        """Focal length and middle of the lens from where joints are in space and in the image."""
        depth = found.joints[..., 2:]
        rays = found.joints[..., :2] / np.where(depth > 0, depth, np.nan)
        finite = np.isfinite(rays + found.pixels)
        there = np.asarray(finite.all(axis=2, keepdims=True), np.bool_)
        if there.sum() < 3:
            return
        count = np.maximum(there.sum(axis=1, keepdims=True), 1)
        means = [
            np.where(there, points, 0.0).sum(axis=1, keepdims=True) / count
            for points in (rays, found.pixels)
        ]  # 0 of who has none
        self._middle *= _LENS_MEMORY
        self._middle[0] += np.count_nonzero(there.any(axis=1))
        self._middle[1:] += [mean.sum(axis=(0, 1)) for mean in means]
        rays, seen = (
            np.where(there, points - mean, 0.0)
            for points, mean in zip((rays, found.pixels), means, strict=True)
        )
        self._lens *= _LENS_MEMORY
        self._lens[0] += (rays**2).sum(axis=(0, 1))
        self._lens[1] += (rays * seen).sum(axis=(0, 1))

    def _shift(self, by: Float) -> None:
        # The joints as last seen sit about a pelvis with noise; they end about the one without.
        root = np.array([body.skeleton.root for body in self.body], np.intp)
        shift = self.position + by - self.joints[np.arange(len(self)), root]
        self.position = self.position + by
        self.joints += shift[:, None]


def _reach(step: float, fade: float) -> float:
    """Seconds of motion at the last velocity in a time over which that velocity fades."""
    return fade * (1 - math.exp(-step / fade))


def _mean_motion(before: Float, after: Float) -> Float:
    """Mean motion in the image of the joints present in both; pixels [N, 2], 0 without any."""
    moved = after - before
    both = np.isfinite(moved).all(axis=2, keepdims=True)
    mean: Float = np.where(both, moved, 0.0).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    return mean
