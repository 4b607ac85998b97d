"""How far from their axis lens models are lenses: beyond, they turn back towards the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]

_STEEPEST = math.radians(89.5)
_STEPS = 4000


@lru_cache(maxsize=64)
def widest(fisheye: bool, coefficients: tuple[float, ...]) -> float:
    """Out to where a lens shows what is farther from its axis farther from the middle.

    Calibrations are polynomials, fitted to what a board showed inside the image. Of most wide
    lenses they turn back outside of it: the feet of somebody near would be above their head.

    Args:
        fisheye: whether they are those of ``equidistant``, else of the other models.
        coefficients: in OpenCV's order; only what they do along the radius counts.

    Returns:
        Tangent of the angle from the axis; infinite where it never turns back.
    """
    rays = np.tan(np.linspace(0.0, _STEEPEST, _STEPS))
    shown = _fisheye(rays, coefficients) if fisheye else _polynomial(rays, coefficients)
    with np.errstate(invalid="ignore"):
        turned = np.flatnonzero(~(np.diff(shown) > 0))  # not a number behind a pole, too
    return float(rays[turned[0]]) if len(turned) else math.inf


def _fisheye(rays: Double, coefficients: Sequence[float]) -> Double:
    angle = np.arctan(rays)
    return np.asarray(
        angle * np.polynomial.polynomial.polyval(angle**2, (1.0, *coefficients)), np.float64
    )


def _polynomial(rays: Double, coefficients: Sequence[float]) -> Double:
    k1, k2, _, _, k3, k4, k5, k6 = (*coefficients, *[0.0] * 8)[:8]
    square = rays**2
    above = np.polynomial.polynomial.polyval(square, (1.0, k1, k2, k3))
    below = np.polynomial.polynomial.polyval(square, (1.0, k4, k5, k6))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(rays * above / below, np.float64)
