"""Whether people's scores are probabilities: of those told with 0.8, eight in ten are there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Most people are nearly certain: the bins are narrow there.
EDGES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class Told:
    """Somebody who was told of.

    Attributes:
        score: of the prediction.
        there: whether it matches anybody, excused or not.
    """

    score: float
    there: bool


@dataclass(frozen=True)
class Reliability:
    """Predictions whose scores are alike.

    Attributes:
        low, high: the scores, ``low`` included.
        count: predictions.
        score: their mean score.
        there: share of them that is there.
    """

    low: float
    high: float
    count: int
    score: float
    there: float


def reliability(told: Sequence[Told]) -> list[Reliability]:
    """The reliability curve, without the bins in which nobody is."""
    scores = np.array([one.score for one in told])
    there = np.array([one.there for one in told])
    curve = []
    for low, high in itertools.pairwise(EDGES):
        rows = (scores >= low) & ((scores < high) | (high == EDGES[-1]))
        if rows.any():
            count, mean = int(rows.sum()), float(scores[rows].mean())
            curve.append(Reliability(low, high, count, mean, float(there[rows].mean())))
    return curve


def calibration_error(curve: Sequence[Reliability]) -> float:
    """Mean difference between score and share who are there, weighted by the predictions.

    The expected calibration error of Guo et al., ICML 2017; NaN without any prediction.
    """
    count = sum(one.count for one in curve)
    if not count:
        return math.nan
    return sum(one.count * abs(one.score - one.there) for one in curve) / count
