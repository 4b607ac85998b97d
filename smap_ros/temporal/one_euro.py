"""The one-euro filter (Casiez, Roussel and Vogel, CHI 2012) for sets of joints.

Slow motion is smoothed strongly, so that a person who stands doesn't tremble; fast motion
weakly, so that it isn't delayed. All times are in seconds: the result doesn't depend on the
frame rate, and frames may come at uneven times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError

Float = NDArray[np.float32]


@dataclass(frozen=True)
class OneEuroConfig:
    """Settings, in the paper's names.

    Attributes:
        min_cutoff: cut-off frequency of a joint at rest, hertz. Lower is smoother.
        beta: increase of the cut-off with speed, hertz per metre/second. Higher lags less.
        derivative_cutoff: cut-off frequency of the speed itself, hertz.
        max_gap: a joint not seen for longer than this, seconds, starts anew where it
            reappears instead of being drawn towards where it was.
    """

    min_cutoff: float = 1.5
    beta: float = 1.0
    derivative_cutoff: float = 1.0
    max_gap: float = 0.5

    def __post_init__(self) -> None:
        for name, lowest in (
            ("min_cutoff", 1e-3),
            ("beta", 0.0),
            ("derivative_cutoff", 1e-3),
            ("max_gap", 0.0),
        ):
            value = getattr(self, name)
            if not math.isfinite(value) or value < lowest:
                raise InputError(f"{name} is {value!r}; expected a number of at least {lowest:g}")


class OneEuroFilter:
    """Filters the joints of one person; each coordinate of each joint by itself.

    Args:
        joints: number of joints.
        config: settings; may be replaced at any time.
    """

    def __init__(self, joints: int, config: OneEuroConfig | None = None) -> None:
        self.config = config or OneEuroConfig()
        self._position = np.full((joints, 3), np.nan, np.float64)
        self._velocity = np.zeros((joints, 3), np.float64)
        self._seen = np.full(joints, -np.inf)  # seconds

    def __call__(self, points: NDArray[np.floating], time: float) -> Float:
        """Take the joints of a frame.

        Args:
            points: float [J, 3], metres; NaN where a joint is missing.
            time: of the frame, seconds. A frame no later than the previous one leaves the
                filter as it is.

        Returns:
            float32 [J, 3]; NaN exactly where ``points`` has NaN.
        """
        config = self.config
        present = np.isfinite(points).all(axis=1)
        gap = time - self._seen  # [J]
        fresh = present & ~((gap <= config.max_gap) & (gap >= 0))
        self._position[fresh] = points[fresh]
        self._velocity[fresh] = 0
        known = present & ~fresh & (gap > 0)
        if known.any():
            step = gap[known][:, None]
            target, position = points[known], self._position[known]
            raw = (target - position) / step
            velocity = self._velocity[known]
            velocity += _weight(config.derivative_cutoff, step) * (raw - velocity)
            cutoff = config.min_cutoff + config.beta * np.abs(velocity)
            self._velocity[known] = velocity
            self._position[known] = position + _weight(cutoff, step) * (target - position)
        self._seen[present] = np.maximum(time, np.where(fresh, -np.inf, self._seen)[present])
        out = self._position.astype(np.float32)
        out[~present] = np.nan
        return out


def _weight(cutoff: NDArray[np.float64] | float, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a new value in an exponential filter of that cut-off (equation 5)."""
    rate = 2 * np.pi * cutoff * step
    weight: NDArray[np.float64] = rate / (rate + 1)
    return weight
