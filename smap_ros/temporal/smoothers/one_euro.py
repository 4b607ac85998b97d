"""The one-euro filter (Casiez, Roussel and Vogel, CHI 2012) for the joints of people.

Slow motion is smoothed strongly, so that a person who stands doesn't tremble; fast motion
weakly, so that it isn't delayed. All times are in seconds: the result doesn't depend on the
frame rate, and frames may come at uneven times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.temporal.options import OneEuroConfig
from smap_ros.temporal.smoothers.base import Float, Seen, carried, rows_before


class OneEuroFilter:
    """Filters K points of D coordinates of each person; each coordinate by itself.

    Args:
        points, size: K and D.
        config: settings; may be replaced at any time.
    """

    def __init__(self, points: int, size: int, config: OneEuroConfig) -> None:
        self.config = config
        self._ids = np.zeros(0, np.int64)
        self._position = np.zeros((0, points, size))
        self._velocity = np.zeros((0, points, size))
        self._seen = np.zeros((0, points))  # seconds

    def __call__(self, ids: NDArray[np.int64], values: Float, time: float) -> Float:
        """Take the people of a picture.

        Args:
            ids: int64 [N], ascending.
            values: float64 [N, K, D]; NaN where a point is missing.
            time: of the picture, seconds. One no later than a point was seen before leaves it
                as it is.

        Returns:
            float64 [N, K, D]; NaN exactly where ``values`` has NaN.
        """
        rows = rows_before(ids, self._ids)
        self._ids = ids
        position = carried(self._position, rows, np.nan)
        velocity = carried(self._velocity, rows, 0.0)
        seen = carried(self._seen, rows, -np.inf)
        config = self.config
        present = np.asarray(np.isfinite(values).all(axis=2))  # [N, K]
        gap = time - seen
        fresh = present & ~((gap <= config.max_gap) & (gap >= 0))
        position[fresh] = values[fresh]
        velocity[fresh] = 0
        known = present & ~fresh & (gap > 0)
        if known.any():
            step = gap[known][:, None]
            off = values[known] - position[known]
            speed = velocity[known]
            speed += _weight(config.derivative_cutoff, step) * (off / step - speed)
            cutoff = config.min_cutoff + config.beta * np.abs(speed)
            velocity[known] = speed
            position[known] += _weight(cutoff, step) * off
        seen[present] = np.where(fresh, time, np.maximum(time, seen))[present]
        self._position, self._velocity, self._seen = position, velocity, seen
        return np.where(present[..., None], position, np.nan)

    def reset(self) -> None:
        """Forget everybody."""
        self.__call__(np.zeros(0, np.int64), self._position[:0], 0.0)


class OneEuroSmoother:
    """Each coordinate of each joint by itself; see ``Smoother``."""

    delay = 0

    def __init__(self, joints: int, config: OneEuroConfig | None = None) -> None:
        self._filter = OneEuroFilter(joints, 3, config or OneEuroConfig())

    def update(self, seen: Seen) -> Float:
        """See :meth:`Smoother.update`."""
        return self._filter(seen.ids, seen.joints, seen.time)

    def flush(self) -> list[Float]:
        """Nothing is ever due."""
        return []

    def reset(self) -> None:
        """See :meth:`Smoother.reset`."""
        self._filter.reset()


def _weight(cutoff: Float | float, step: Float) -> Float:
    """Weight of a new value in an exponential filter of that cut-off (equation 5)."""
    rate = 2 * np.pi * cutoff * step
    weight: Float = rate / (rate + 1)
    return weight
