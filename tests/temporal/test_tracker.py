"""Identities and gaps, on people whose motion is known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smap_ros.errors import InputError
from smap_ros.temporal import Tracker, TrackerConfig
from smap_ros.temporal.assignment import assign
from tests.temporal.people import STEP, identities, person

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


def test_one_image_stamped_slightly_earlier_is_dropped_and_renames_nobody():
    tracker = Tracker()
    for k in range(5):
        assert identities(tracker.update([person((0, 0, 4)), person((2, 0, 5))], k * STEP)) == [
            0,
            1,
        ]
    for straggler in (0.35, 0.1):  # two in a row, too
        assert tracker.update([person((0, 0, 4))], straggler) is None
    assert tracker.late == 2
    assert identities(tracker.update([person((0, 0, 4)), person((2, 0, 5))], 0.5)) == [0, 1]


def test_a_clock_set_back_a_little_starts_anew_instead_of_dropping_everything():
    tracker = Tracker(TrackerConfig(death_time=3.0))
    tracker.update([person((0, 0, 4))], 2.0)
    answers = [tracker.update([person((0, 0, 4))], t) for t in (0.0, 0.1, 0.2, 0.3)]
    assert answers[:2] == [None, None]
    assert [identities(answer) for answer in answers[2:]] == [[1], [1]]


def test_after_silence_longer_than_death_time_nobody_is_matched():
    tracker = Tracker(TrackerConfig(death_time=1.0))
    assert identities(tracker.update([person((0, 0, 4))], 0.0)) == [0]
    assert identities(tracker.update([person((0, 0, 4))], 15.0)) == [1]


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
