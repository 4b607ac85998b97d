"""Smoothers as filters: the papers' numbers, and what all of them must do."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.temporal import OneEuroConfig, create_smoother
from smap_ros.temporal.smoothers.base import Seen
from smap_ros.temporal.smoothers.one_euro import OneEuroFilter
from smap_ros.temporal.smoothers.rts import RtsConfig, RtsSmoother
from tests.temporal.people import SHAPE

# --- one-euro filter ----------------------------------------------------------------------------


ONE = np.zeros(1, np.int64)


def run(positions, times, config=None):
    one_euro = OneEuroFilter(1, 3, config or OneEuroConfig())
    frames = zip(positions, times, strict=True)
    return np.array([one_euro(ONE, p[None, None], t)[0, 0] for p, t in frames])


def reference(values, times, config):
    """The paper's algorithm, one number at a time."""
    previous, speed, out = values[0], 0.0, [values[0]]
    for k in range(1, len(values)):
        step = times[k] - times[k - 1]
        alpha = 1 / (1 + 1 / (2 * np.pi * config.derivative_cutoff * step))
        speed = alpha * (values[k] - previous) / step + (1 - alpha) * speed
        alpha = 1 / (1 + 1 / (2 * np.pi * (config.min_cutoff + config.beta * abs(speed)) * step))
        previous = alpha * values[k] + (1 - alpha) * previous
        out.append(previous)
    return np.array(out)


def test_filter_is_the_papers():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.2, 60))
    positions = np.cumsum(rng.normal(0, 0.1, (60, 3)), axis=0)
    config = OneEuroConfig()
    got = run(positions, times, config)
    for axis in range(3):
        np.testing.assert_allclose(
            got[:, axis], reference(positions[:, axis], times, config), atol=1e-6
        )


def test_noise_at_rest_shrinks_and_fast_motion_lags_little():
    rng = np.random.default_rng(2)
    times = np.arange(300) / 15
    still = rng.normal(0, 0.03, (300, 3)) + [0, 0, 4]
    assert run(still, times)[50:].std(axis=0).max() < 0.6 * 0.03
    walk = np.outer(times * 1.5, [1, 0, 0])
    lag = (walk - run(walk, times))[100:, 0] / 1.5
    assert 0 <= lag.max() < 0.06  # seconds


def test_missing_joints_stay_missing_and_a_long_gap_starts_anew():
    filtered = OneEuroFilter(2, 3, OneEuroConfig(max_gap=0.5))

    def one_euro(points, time):
        return filtered(ONE, points[None], time)[0]

    both = np.array([[0, 0, 4], [1, 0, 4]], float)
    one_euro(both, 0.0)
    half = both.copy()
    half[1] = np.nan
    out = one_euro(half, 0.1)
    assert np.isfinite(out[0]).all() and np.isnan(out[1]).all()
    moved = both + [0.5, 0, 0]
    short = one_euro(moved, 0.2)
    assert 1.0 < short[1, 0] < 1.5 and 0 < short[0, 0] < 0.5
    one_euro(np.full((2, 3), np.nan), 0.3)
    anew = one_euro(both, 5.0)
    np.testing.assert_array_equal(anew, both)


def test_a_repeated_frame_changes_nothing():
    one_euro = OneEuroFilter(1, 3, OneEuroConfig())
    one_euro(ONE, np.zeros((1, 1, 3)), 0.0)
    before = one_euro(ONE, np.ones((1, 1, 3)), 0.1)
    np.testing.assert_array_equal(one_euro(ONE, np.full((1, 1, 3), 9.0), 0.1), before)


@pytest.mark.parametrize("field", ["min_cutoff", "beta", "derivative_cutoff", "max_gap"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_filter_settings_out_of_range_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        OneEuroConfig(**{field: value})


# --- Kalman filter and RTS ----------------------------------------------------------------------


def dense_rts(values, times, q, r):
    """The textbook's smoother for one coordinate."""
    means, spreads, ahead = [], [], []
    x, p = np.array([values[0], 0.0]), np.diag([r, 4.0])
    for k, value in enumerate(values):
        if k:
            step = times[k] - times[k - 1]
            f = np.array([[1, step], [0, 1.0]])
            noise = q * np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
            x, p = f @ x, f @ p @ f.T + noise
            ahead.append((x, p, f))
            gain = p[:, :1] / (p[0, 0] + r)
            x, p = x + gain[:, 0] * (value - x[0]), p - gain @ p[:1]
        means.append(x)
        spreads.append(p)
    out = [means[-1]]
    for k in range(len(values) - 2, -1, -1):
        expected, spread, f = ahead[k]
        gain = spreads[k] @ f.T @ np.linalg.inv(spread)
        out.append(means[k] + gain @ (out[-1] - expected))
    return np.array(out[::-1])[:, 0]


def test_rts_is_the_textbooks_at_uneven_times():
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.uniform(0.03, 0.2, 30))
    about = np.cumsum(rng.normal(0, 0.02, 30))
    config = RtsConfig(acceleration=(0.5, 0.1, 2.0), noise=(0.01, 0.08, 0.05), outlier=1e9)
    smoother = RtsSmoother(2, delay=29, config=config)
    answers = []
    for value, time in zip(about, times, strict=True):
        joints = np.array([[[0, 0, 4.0], [value, 0.3, 4.2]]])
        answers.append(smoother.update(Seen(ONE, joints, np.ones((1, 2)), time, 0)))
    assert answers[:29] == [None] * 29
    got = [answers[29], *smoother.flush()]
    want = dense_rts(about, times, 2.0**2, 0.05**2)
    np.testing.assert_allclose([joints[0, 1, 0] for joints in got], want, atol=1e-9)


# --- all ----------------------------------------------------------------------------------------

ALL = [("one_euro", 0), ("split", 0), ("rts", 0), ("rts", 2), ("rts", 4), ("auto", 0), ("auto", 3)]


def stream(name, delay, frames):
    """What a smoother says of frames of (ids, joints, time), flushed at the end."""
    smoother = create_smoother(name, joints=15, delay=delay)
    answers = []
    for ids, joints, time in frames:
        scores = np.where(np.isfinite(joints).all(axis=2), 0.8, 0.0)
        answers.append(smoother.update(Seen(np.array(ids, np.int64), joints, scores, time, 2)))
    assert [answer is None for answer in answers] == [k < delay for k in range(len(frames))]
    return [*answers[delay:], *smoother.flush()]


@pytest.mark.parametrize("name_delay", ALL)
@pytest.mark.parametrize("rate", [5, 10, 30])
def test_noise_at_rest_shrinks_at_every_rate_and_uneven_times(name_delay, rate):
    rng = np.random.default_rng(6)
    times = np.cumsum(rng.uniform(0.6, 1.4, 12 * rate) / rate)
    still = SHAPE + [0.5, 0, 4]
    frames = [([3], (still + rng.normal(0, 0.03, (15, 3)))[None], t) for t in times]
    out = np.stack(stream(*name_delay, frames))[2 * rate :, 0]
    raw = np.stack([joints[0] for _, joints, _ in frames])[2 * rate :]
    assert len(out) == len(raw)
    spread = [np.linalg.norm(points - points.mean(axis=0), axis=2).mean() for points in (out, raw)]
    assert spread[0] < (1 if name_delay == ("rts", 0) else 0.8) * spread[1]
    np.testing.assert_allclose(out.mean(axis=0), still, atol=0.03)


@pytest.mark.parametrize("name_delay", ALL)
def test_people_do_not_touch_one_another_and_may_come_and_go(name_delay):
    rng = np.random.default_rng(7)
    paths = {k: rng.normal(0, 0.02, (12, 15, 3)) + SHAPE + [k - 2.0, 0, 3.0 + k] for k in range(5)}
    there = [(0, 2, 4)] * 3 + [(0, 1, 2, 3, 4)] * 3 + [()] + [(1, 3)] * 3 + [(0, 1)] * 2
    times = np.arange(12) / 15
    together = [
        (ids, np.array([paths[i][k] for i in ids]).reshape(-1, 15, 3), times[k])
        for k, ids in enumerate(there)
    ]
    all_at_once = stream(*name_delay, together)
    for one in paths:
        alone = [
            ([i for i in ids if i == one], joints[[i == one for i in ids]], time)
            for ids, joints, time in together
        ]
        mine = stream(*name_delay, alone)
        for ids, ours, theirs in zip(there, mine, all_at_once, strict=True):
            np.testing.assert_allclose(ours, theirs[[i == one for i in ids]], atol=1e-12)


@pytest.mark.parametrize("name_delay", ALL)
def test_a_joint_that_was_away_for_long_starts_anew(name_delay):
    frames = []
    for k in range(30):
        joints = (SHAPE + [0, 0, 4])[None].copy()
        if 8 <= k < 20:  # 0.8 s
            joints[0, 5] = np.nan
        if k >= 20:
            joints[0, 5] += [0.5, 0, 0]
        frames.append(([0], joints, k / 15))
    out = stream(*name_delay, frames)
    np.testing.assert_allclose(out[20][0, 5], frames[20][1][0, 5], atol=1e-6)
    np.testing.assert_allclose(out[7][0, 5], frames[7][1][0, 5], atol=1e-6)


@pytest.mark.parametrize("delay", [2, 4])
def test_looking_ahead_removes_the_lag_and_more_noise(delay):
    rng = np.random.default_rng(8)
    times = np.arange(120) / 15
    true = SHAPE + np.stack([np.sin(times), 0 * times, 4 + 0 * times], axis=1)[:, None]
    frames = [
        ([0], (p + rng.normal(0, 0.03, (15, 3)))[None], t) for p, t in zip(true, times, strict=True)
    ]
    errors = {}
    for name, ahead in (("split", 0), ("rts", delay)):
        out = np.stack(stream(name, ahead, frames))[:, 0]
        errors[name] = np.linalg.norm(out - true, axis=2)[20:].mean()
    assert errors["rts"] < 0.8 * errors["split"]


@pytest.mark.parametrize(
    ("name", "delay", "says"),
    [
        ("split", 2, "doesn't look ahead"),
        ("none", 1, "doesn't look ahead"),
        ("rts", 9, "expected 0 to 8"),
        ("auto", -1, "expected 0 to 8"),
        ("kalman", 0, "expected one of auto, none"),
    ],
)
def test_smoothers_and_delays_that_cannot_be_are_refused(name, delay, says):
    with pytest.raises(InputError, match=says):
        create_smoother(name, 15, delay)


def test_nobody_is_smoothed_by_none():
    assert create_smoother("none", 15) is None
