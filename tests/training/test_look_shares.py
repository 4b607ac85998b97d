"""Shares of the second look, fitted to what each look gets wrong."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.bundles.manifest.second_look import ShareWeights
from smap_ros.estimators.second_look.fusing import share_of
from smap_train.export.look_shares import Joints, fitted

COUNT = 4000


def joints(first_off: np.ndarray, second_off: np.ndarray, scores: np.ndarray) -> Joints:
    """Looks whose deviations from the truth are given, in the picture."""
    random = np.random.default_rng(1)
    one, two = (off[:, None] * random.normal(0, 1, (COUNT, 2)) for off in (first_off, second_off))
    return Joints(one, two, scores)


def scored(second: np.ndarray) -> np.ndarray:
    return np.stack([np.full(COUNT, 0.5), second, np.full(COUNT, 0.05)], axis=1)


def test_the_look_that_is_right_gets_the_joint():
    good, bad = np.full(COUNT, 0.01), np.full(COUNT, 0.2)
    for pair, expected in (((good, bad), 0.0), ((bad, good), 1.0)):
        weights, told = fitted(joints(*pair, scored(np.full(COUNT, 0.9))), ShareWeights())
        share = share_of(weights, 0.5, 0.9, 0.05)
        assert share == pytest.approx(expected, abs=0.03)
        assert told["both"] < 1.05 * min(told["first"], told["second"])


def test_two_looks_that_are_equally_wrong_get_half_each():
    off = np.full(COUNT, 0.1)
    weights, told = fitted(joints(off, off, scored(np.full(COUNT, 0.9))), ShareWeights(bias=3))
    assert share_of(weights, 0.5, 0.9, 0.05) == pytest.approx(0.5, abs=0.07)
    assert told["both"] < 0.8 * told["first"]


def test_where_a_look_is_sure_decides():
    """The second look is right where it says so, and wrong where not."""
    sure = np.random.default_rng(0).random(COUNT) < 0.5
    second = np.where(sure, 0.01, 0.3)
    weights, told = fitted(
        joints(np.full(COUNT, 0.08), second, scored(np.where(sure, 0.95, 0.2))), ShareWeights()
    )
    assert share_of(weights, 0.5, 0.95, 0.05) > 0.85 and share_of(weights, 0.5, 0.2, 0.05) < 0.15
    assert told["both"] < 0.7 * told["first"]


def test_joints_that_are_lost_count_alike_however_far():
    """A tenth of the second look's joints are far off; elsewhere it is right, and is taken."""
    second = np.full(COUNT, 0.01)
    second[: COUNT // 10] = 100.0
    weights, _ = fitted(
        joints(np.full(COUNT, 0.2), second, scored(np.full(COUNT, 0.9))), ShareWeights()
    )
    assert share_of(weights, 0.5, 0.9, 0.05) > 0.9
