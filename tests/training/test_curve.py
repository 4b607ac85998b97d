"""Learning curves: what was kept along a run, what it is worth, and the figure."""

import math

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train import curve


def test_kept_weights_come_by_step(tmp_path) -> None:
    (tmp_path / "steps").mkdir()
    for name in ("001000.pth", "000200.pth", "notes.pth"):
        (tmp_path / "steps" / name).touch()
    assert list(curve.kept(tmp_path)) == [200, 1000]


def test_a_run_that_kept_nothing_says_how_to(tmp_path) -> None:
    with pytest.raises(InputError, match="keep_every"):
        curve.kept(tmp_path)


def test_doubling_is_the_slope_over_the_logarithm_of_the_second_half() -> None:
    steps = np.array([100, 200, 400, 800])
    values = np.array([500.0, 90.0, 80.0, 70.0])
    assert curve.doubling(steps, values) == pytest.approx(-10)
    assert math.isnan(curve.doubling(steps[-1:], values[-1:]))
    assert math.isnan(curve.doubling(steps, np.full(4, np.nan)))


def test_the_figure_shows_every_measure() -> None:
    points = [
        curve.Point(100, 40, 50, 300, 150, 12, 10, math.nan),
        curve.Point(200, 60, 70, 250, 130, 10, 20, math.nan),
    ]
    both, one = curve.figure(points), curve.figure(points[:1])
    assert both.shape == one.shape and both.dtype == np.uint8
    assert (both != one).any()
