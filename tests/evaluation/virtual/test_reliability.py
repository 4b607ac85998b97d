"""Scores against who is there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smap_ros.evaluation.virtual.reliability import Told, calibration_error, reliability


def test_the_curve_says_how_many_of_those_told_alike_are_there():
    told = [Told(0.72, True), Told(0.78, False), Told(0.79, True), Told(0.99, True)]
    first, last = reliability(told)
    assert (first.low, first.high, first.count) == (0.7, 0.8, 3)
    assert first.score == pytest.approx((0.72 + 0.78 + 0.79) / 3)
    assert first.there == pytest.approx(2 / 3)
    assert (last.low, last.high, last.count, last.there) == (0.98, 1.0, 1, 1.0)
    apart = (3 * abs(first.score - 2 / 3) + 0.01) / 4
    assert calibration_error([first, last]) == pytest.approx(apart)


def test_every_score_is_in_one_bin():
    told = [Told(score, True) for score in (0.0, 0.3, 0.5, 0.7999, 0.8, 0.98, 1.0)]
    assert sum(one.count for one in reliability(told)) == len(told)


def test_scores_that_are_probabilities_are_near_and_others_are_not():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 5000)
    there = rng.uniform(0, 1, 5000) < scores
    honest = [Told(float(s), bool(t)) for s, t in zip(scores, there, strict=True)]
    shy = [Told(one.score**2, one.there) for one in honest]
    assert calibration_error(reliability(honest)) < 0.02
    assert calibration_error(reliability(shy)) > 0.1


def test_nobody_told_of_is_no_curve():
    assert reliability([]) == []
    assert math.isnan(calibration_error([]))
