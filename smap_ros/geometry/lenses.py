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
# Rational models of real lenses (Luxonis' OAK) have poles inside the image, each nearly cancelled
# by a zero beside it: within this angle nothing is told of the lens, beyond it is one again.
_AROUND_POLE = math.radians(5)


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
    angles = np.linspace(0.0, _STEEPEST, _STEPS)
    rays = np.tan(angles)
    above, below = _fisheye(rays, coefficients) if fisheye else _polynomial(rays, coefficients)
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = ~(np.diff(above / below) > 0)
    for pole in np.flatnonzero(np.diff(np.sign(below))):
        turned &= np.abs(angles[:-1] - angles[pole]) > _AROUND_POLE
    (back,) = turned.nonzero()
    return float(rays[back[0]]) if len(back) else math.inf


def _fisheye(rays: Double, coefficients: Sequence[float]) -> tuple[Double, Double]:
    angle = np.arctan(rays)
    shown = angle * np.polynomial.polynomial.polyval(angle**2, (1.0, *coefficients))
    return np.asarray(shown, np.float64), np.ones_like(rays)


def _polynomial(rays: Double, coefficients: Sequence[float]) -> tuple[Double, Double]:
    """Numerator and denominator of how far from the middle rays are shown."""
    k1, k2, _, _, k3, k4, k5, k6 = (*coefficients, *[0.0] * 8)[:8]
    square = rays**2
    above = np.polynomial.polynomial.polyval(square, (1.0, k1, k2, k3))
    below = np.polynomial.polynomial.polyval(square, (1.0, k4, k5, k6))
    return np.asarray(rays * above, np.float64), np.asarray(below, np.float64)
