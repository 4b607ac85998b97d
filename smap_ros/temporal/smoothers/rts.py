"""A Kalman filter of constant velocity, and the Rauch-Tung-Striebel smoother behind it.

Viewing direction, logarithm of the depth and joints about the pelvis are channels of their
own, as in ``split``. What comes ``delay`` pictures later is evidence for a picture as well: noise
averages out from both sides and nothing lags.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.temporal.smoothers.base import (
    Float,
    Seen,
    carried,
    joined_position,
    rows_before,
    split_position,
)

# Variance of an unknown velocity, in channel units per second squared.
_UNKNOWN_SPEED = 4.0
# Measured joints of a score below this are all trusted as little.
_LEAST_SCORE = 0.2


@dataclass(frozen=True)
class RtsConfig:
    """How people move and how the detector errs.

    Attributes:
        acceleration: density of the random acceleration of direction (x/z and y/z), logarithm of
            depth and pose (metres), each per second to the power 1.5.
        noise: standard deviation of a measurement of the same, of joints at score 1.
        outlier: a measurement so many standard deviations off counts for less, in proportion.
        max_gap: a joint not seen for longer than this, seconds, starts anew.
    """

    acceleration: tuple[float, float, float] = (0.5, 0.1, 2.5)
    noise: tuple[float, float, float] = (0.01, 0.08, 0.05)
    outlier: float = 3.0
    max_gap: float = 0.5

    def __post_init__(self) -> None:
        for name in ("acceleration", "noise"):
            for value in getattr(self, name):
                if not math.isfinite(value) or value <= 0:
                    raise InputError(f"{name} has {value!r}; expected numbers above 0")


@dataclass(frozen=True)
class _Moment:
    """The filter after a picture: N people, C channels; position and velocity.

    Attributes:
        ids: int64 [N].
        mean: float64 [2, N, C], given the pictures so far.
        spread: float64 [3, N, C], variances and covariance (pp, pv, vv).
        expected, expected_spread: the same before the measurement.
        step: seconds since the picture before.
        present: bool [N, C], seen in this picture.
        anew: bool [N, C], started at this picture.
        started: bool [N, C], has a state at all.
    """

    ids: NDArray[np.int64]
    mean: Float
    spread: Float
    expected: Float
    expected_spread: Float
    step: float
    present: NDArray[np.bool_]
    anew: NDArray[np.bool_]
    started: NDArray[np.bool_]


class RtsSmoother:
    """See ``Smoother``, and the head of this file.

    Args:
        joints: J.
        delay: pictures to look ahead; 0 leaves the Kalman filter.
    """

    def __init__(self, joints: int, delay: int, config: RtsConfig | None = None) -> None:
        self.delay = delay
        self._joints = joints
        config = config or RtsConfig()
        self._config = config
        repeats = (2, 1, 3 * joints)  # channels
        self._q = np.repeat(np.square(config.acceleration), repeats)  # [C]
        self._r = np.repeat(np.square(config.noise), repeats)
        self._channels = sum(repeats)
        self._moments: deque[_Moment] = deque()
        self.reset()

    def reset(self) -> None:
        """See :meth:`Smoother.reset`."""
        self._moments.clear()
        self._last: _Moment | None = None
        self._time = -math.inf
        self._seen = np.zeros((0, self._channels))

    def update(self, seen: Seen) -> Float | None:
        """See :meth:`Smoother.update`."""
        moment = self._filtered(seen)
        self._last = moment
        self._moments.append(moment)
        if len(self._moments) <= self.delay:
            return None
        answer = self._smoothed(self.delay)[0]
        self._moments.popleft()
        return answer

    def flush(self) -> list[Float]:
        """See :meth:`Smoother.flush`."""
        if not self._moments:
            return []
        answers = self._smoothed(len(self._moments) - 1)
        self._moments.clear()
        return answers

    def _filtered(self, seen: Seen) -> _Moment:
        value, noise = self._measured(seen)
        last = self._last
        step = 0.0 if last is None else seen.time - self._time
        self._time = seen.time
        before = np.zeros(0, np.int64) if last is None else last.ids
        rows = rows_before(seen.ids, before)
        shape = (len(seen.ids), self._channels)
        was_seen = carried(self._seen, rows, -np.inf)
        mean, spread = np.zeros((2, *shape)), np.zeros((3, *shape))
        started = np.zeros(shape, np.bool_)
        if last is not None and len(before):
            started = last.started[rows] & (rows >= 0)[:, None]
            mean, spread = self._advanced(last.mean[:, rows], last.spread[:, rows], step)
        present = np.isfinite(value)
        known = started & present & (seen.time - was_seen <= self._config.max_gap)
        anew = present & ~known
        expected, expected_spread = mean, spread
        mean, spread = self._corrected(mean, spread, np.where(known, value, 0.0), noise, known)
        mean[0], mean[1] = np.where(anew, value, mean[0]), np.where(anew, 0.0, mean[1])
        unknown = np.full(shape, _UNKNOWN_SPEED)
        spread = np.where(anew, np.stack([noise, np.zeros(shape), unknown]), spread)
        self._seen = np.where(present, seen.time, was_seen)
        return _Moment(
            seen.ids, mean, spread, expected, expected_spread, step, present, anew, started | anew
        )

    def _measured(self, seen: Seen) -> tuple[Float, Float]:
        """Channels [N, C] and their variances."""
        parts = split_position(seen.joints, seen.root)
        people = len(seen.ids)
        flat = [part.reshape(people, part.shape[1] * part.shape[2]) for part in parts]
        value = np.concatenate(flat, axis=1)
        trust = np.clip(seen.scores, _LEAST_SCORE, 1.0) ** -2.0  # [N, J]
        weight = np.concatenate([np.ones((people, 3)), np.repeat(trust, 3, axis=1)], axis=1)
        return value, self._r * weight

    def _advanced(self, mean: Float, spread: Float, step: float) -> tuple[Float, Float]:
        """State and variances ``step`` seconds later."""
        pp, pv, vv = spread
        q = self._q
        return np.stack([mean[0] + step * mean[1], mean[1]]), np.stack(
            [
                pp + step * (2 * pv + step * vv) + q * step**3 / 3,
                pv + step * vv + q * step**2 / 2,
                vv + q * step,
            ]
        )

    def _corrected(
        self, mean: Float, spread: Float, value: Float, noise: Float, known: NDArray[np.bool_]
    ) -> tuple[Float, Float]:
        """State and variances given a measurement, where there is one."""
        pp, pv, vv = spread
        off = np.where(known, value - mean[0], 0.0)
        total = pp + noise
        far = np.abs(off) / (self._config.outlier * np.sqrt(total))
        total = np.where(known, pp + noise * np.maximum(far, 1.0) ** 2, 1.0)
        gain_p, gain_v = np.where(known, pp / total, 0.0), np.where(known, pv / total, 0.0)
        return (
            np.stack([mean[0] + gain_p * off, mean[1] + gain_v * off]),
            np.stack([pp - gain_p * pp, pv - gain_p * pv, vv - gain_v * pv]),
        )

    def _smoothed(self, count: int) -> list[Float]:
        """Joints of the oldest pictures given all, oldest first: ``count`` before the newest."""
        moments = list(self._moments)
        later, tied = moments[-1].mean, moments[-1].present
        answers = [self._joined(moments[-1], later, tied)]
        for now, then in zip(moments[-2::-1], moments[:0:-1], strict=True):
            later = self._looked_back(now, then, later)
            tied = now.present | self._linked(now, then, tied)
            answers.append(self._joined(now, later, tied))
        return answers[::-1]

    @staticmethod
    def _linked(now: _Moment, then: _Moment, tied: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is tied to something seen by way of the next picture."""
        if not len(then.ids):
            return np.zeros_like(now.present)
        rows = rows_before(now.ids, then.ids)
        linked: NDArray[np.bool_] = tied[rows] & ~then.anew[rows] & (rows >= 0)[:, None]
        return linked

    def _looked_back(self, now: _Moment, then: _Moment, later: Float) -> Float:
        """What the smoothed state of the next picture says of this one: the RTS step."""
        rows = rows_before(now.ids, then.ids)
        if not len(then.ids):
            return now.mean
        use = now.started & ~then.anew[rows] & (rows >= 0)[:, None]
        pp, pv, vv = now.spread
        a, b, c = then.expected_spread[:, rows]
        determinant = np.where(use, a * c - b * b, 1.0)
        off = np.where(use, later[:, rows] - then.expected[:, rows], 0.0)
        # Gain G = P F' E^-1, with F = [[1, step], [0, 1]].
        first, second = pp + then.step * pv, pv + then.step * vv
        x = (c * off[0] - b * off[1]) / determinant
        y = (a * off[1] - b * off[0]) / determinant
        return np.stack([now.mean[0] + first * x + pv * y, now.mean[1] + second * x + vv * y])

    def _joined(self, moment: _Moment, mean: Float, tied: NDArray[np.bool_]) -> Float:
        """Joints as asked for; NaN of what wasn't seen then and isn't tied to what was later.

        Who is hidden for long isn't where a filter would go on to.
        """
        position = np.where(moment.started & tied, mean[0], np.nan)
        people = len(moment.ids)
        return joined_position(
            position[:, None, :2],
            position[:, None, 2:3],
            position[:, 3:].reshape(people, self._joints, 3),
        )
