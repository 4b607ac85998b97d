"""Identities, gaps and smooth joints, on people whose motion is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.temporal import (
    BodySmoother,
    OneEuroConfig,
    OneEuroFilter,
    SmootherConfig,
    Tracker,
    TrackerConfig,
)
from smap_ros.temporal.assignment import assign

CAMERA = Camera.from_fov(1280, 720, np.deg2rad(70))
STEP = 0.1
SHAPE = np.random.default_rng(3).uniform([-0.3, -0.7, -0.2], [0.3, 0.9, 0.2], (15, 3))
SHAPE[2] = 0  # pelvis


def person(root, score=0.8, missing=()):
    joints = (np.asarray(root, float) + SHAPE).astype(np.float32)
    pixels = CAMERA.project(joints).astype(np.float32)
    scores = np.full(15, 0.8, np.float32)
    for joint in missing:
        joints[joint], pixels[joint], scores[joint] = np.nan, np.nan, 0
    return Body(joints, pixels, scores, score)


def identities(tracked):
    return [t.body.id for t in tracked]


# --- assignment ---------------------------------------------------------------------------------


@given(
    arrays(
        float,
        st.tuples(st.integers(0, 4), st.integers(0, 5)),
        elements=st.one_of(st.floats(-5, 5), st.just(np.inf)),
    )
)
@settings(deadline=None, max_examples=200)
def test_assignment_is_the_best_of_all(cost):
    pairs = assign(cost)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert all(np.isfinite(cost[pair]) for pair in pairs)
    wide = cost if cost.shape[0] <= cost.shape[1] else cost.T
    best = (0, 0.0)
    for columns in permutations(range(wide.shape[1]), wide.shape[0]):
        costs = wide[range(wide.shape[0]), list(columns)]
        finite = costs[np.isfinite(costs)]
        best = min(best, (-len(finite), finite.sum()))
    assert len(pairs) == -best[0]
    assert sum(cost[pair] for pair in pairs) == pytest.approx(best[1], abs=1e-9)


# --- tracker ------------------------------------------------------------------------------------


def test_two_people_who_cross_keep_their_identities():
    tracker = Tracker()
    seen = []
    for k in range(41):
        x = -2 + k * STEP
        frame = [person((x, 0, 4.0)), person((-x, 0, 4.6))]
        order = frame if k % 2 else frame[::-1]
        tracked = tracker.update(order, k * STEP)
        seen.append({round(float(t.body.root[2]), 1): t.body.id for t in tracked})
    assert all(ids == seen[0] for ids in seen) and len(seen[0]) == 2


def test_depth_noise_of_one_camera_does_not_change_identities():
    rng = np.random.default_rng(0)
    tracker = Tracker()
    found = set()
    for k in range(100):
        roots = np.array([(-1.5, 0, 3.0), (0, 0, 5.0), (2, 0, 8.0)])
        noisy = roots * rng.normal(1, 0.07, (3, 1))  # along the view
        found.update(identities(tracker.update([person(p) for p in noisy], k * 0.05)))
    assert found == {0, 1, 2}


def test_a_short_gap_is_filled_and_marked_a_longer_one_is_silent_and_the_person_comes_back():
    tracker = Tracker(TrackerConfig(fill_time=0.25, death_time=1.0))
    for k in range(10):
        tracker.update([person((k * 0.1, 0, 4))], k * STEP)
    first = tracker.update([], 1.0)
    assert [t.predicted for t in first] == [True] and identities(first) == [0]
    assert first[0].body.root[0] == pytest.approx(1.0, abs=0.03)  # moved on at 1 m/s
    assert first[0].body.score < 0.8
    assert len(tracker.update([], 1.1)) == 1
    assert tracker.update([], 1.4) == []
    back = tracker.update([person((1.3, 0, 4))], 1.6)
    assert identities(back) == [0] and not back[0].predicted
    gone = tracker.update([], 3.0)
    assert gone == []
    assert identities(tracker.update([person((1.3, 0, 4))], 3.1)) == [1]


def test_an_uncertain_person_must_last_and_a_ghost_of_one_frame_is_never_reported():
    tracker = Tracker(TrackerConfig(birth_score=0.5, birth_time=0.15))
    assert tracker.update([person((0, 0, 4), score=0.3)], 0.0) == []
    assert tracker.update([], 0.1) == []
    reported = [bool(tracker.update([person((1, 0, 4), 0.3)], t)) for t in (0.2, 0.3, 0.4)]
    assert reported == [False, False, True]
    assert identities(tracker.update([person((1, 0, 4), 0.3), person((-2, 0, 5))], 0.5)) == [0, 1]


def test_time_that_goes_backwards_starts_anew_and_identities_are_never_reused():
    tracker = Tracker()
    assert identities(tracker.update([person((0, 0, 4))], 100.0)) == [0]
    assert identities(tracker.update([person((0, 0, 4))], 5.0)) == [1]
    assert identities(tracker.update([person((0, 0, 4))], 5.1)) == [1]


def test_a_person_without_pelvis_is_left_out_and_an_empty_frame_is_fine():
    tracker = Tracker()
    assert tracker.update([], 0.0) == []
    assert tracker.update([person((0, 0, 4), missing=[2])], 0.1) == []


def test_forty_people_are_tracked_within_a_frame_time():
    import time

    tracker = Tracker()
    crowd = [person((x, y, 9 + 0.1 * x)) for x in range(-5, 5) for y in range(-2, 2)]
    tracker.update(crowd, 0.0)
    start = time.process_time()
    for k in range(1, 6):
        assert identities(tracker.update(crowd, k * STEP)) == list(range(40))
    assert (time.process_time() - start) / 5 < 0.05


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_depth", -1), ("image_weight", 1.5), ("birth_time", float("nan")), ("fill_time", 2.0)],
)
def test_rules_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        TrackerConfig(**{field: value})


# --- one-euro filter ----------------------------------------------------------------------------


def run(positions, times, config=None):
    one_euro = OneEuroFilter(1, config)
    return np.array([one_euro(p[None], t)[0] for p, t in zip(positions, times, strict=True)])


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
    one_euro = OneEuroFilter(2, OneEuroConfig(max_gap=0.5))
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
    np.testing.assert_array_equal(anew, both.astype(np.float32))


def test_a_repeated_frame_changes_nothing():
    one_euro = OneEuroFilter(1)
    one_euro(np.zeros((1, 3)), 0.0)
    before = one_euro(np.ones((1, 3)), 0.1)
    np.testing.assert_array_equal(one_euro(np.full((1, 3), 9.0), 0.1), before)


@pytest.mark.parametrize("field", ["min_cutoff", "beta", "derivative_cutoff", "max_gap"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_filter_settings_out_of_range_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        OneEuroConfig(**{field: value})


# --- both ---------------------------------------------------------------------------------------


def test_smoother_smooths_joints_keeps_pixels_and_can_be_turned_off():
    rng = np.random.default_rng(4)
    smoother, raw, smooth = BodySmoother(), [], []
    for k in range(100):
        body = person(rng.normal((0, 0, 4), (0.01, 0.01, 0.1)))
        (tracked,) = smoother.update([body], k / 15)
        np.testing.assert_array_equal(tracked.body.joints_2d, body.joints_2d)
        raw.append(body.root)
        smooth.append(tracked.body.root)
    jitter = [np.abs(np.diff(np.array(points)[20:, 2])).mean() for points in (raw, smooth)]
    assert jitter[1] < 0.4 * jitter[0]
    smoother.config = replace(smoother.config, smooth=False)
    body = person((0, 0, 4.2))
    (tracked,) = smoother.update([body], 10.0)
    np.testing.assert_array_equal(tracked.body.joints_3d, body.joints_3d)


def test_a_recording_that_starts_again_is_not_drawn_to_its_end():
    smoother = BodySmoother()
    for k in range(20):
        smoother.update([person((0, 0, 4))], 50 + k * STEP)
    (tracked,) = smoother.update([person((0.2, 0, 4))], 50.0)
    np.testing.assert_allclose(tracked.body.root, (0.2, 0, 4), atol=1e-6)


def test_memory_does_not_grow_with_the_people_who_pass():
    smoother = BodySmoother(SmootherConfig(tracker=TrackerConfig(death_time=0.3)))
    for k in range(300):
        smoother.update([person(((k * 1.7) % 8 - 4, 0, 3 + (k * 2.3) % 7))], k * 0.2)
    assert len(smoother._filters) <= 4 and len(smoother._tracker._tracks) <= 4
