"""Identities and gaps, on people whose motion is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smap_ros.errors import InputError
from smap_ros.temporal import Tracker, TrackerConfig
from smap_ros.temporal.assignment import assign
from smap_ros.temporal.egomotion import Motion
from smap_ros.temporal.smoothers.base import LEAST_DEPTH
from tests.temporal.people import CAMERA, STEP, identities, person

# --- assignment ---------------------------------------------------------------------------------


@given(
    arrays(
        float,
        st.tuples(st.integers(0, 4), st.integers(0, 5)),
        elements=st.one_of(st.floats(-5, 5), st.just(np.inf)),
    )
)
@settings(max_examples=200)
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


def test_who_walks_slowly_behind_somebody_who_comes_towards_them_goes_on_walking():
    """Few pictures a second, the farther one unseen in three: they aren't company."""
    tracker, step, speed = Tracker(), 0.23, 0.35
    for k in range(15):
        x = (k - 7) * step * speed
        near, far = person((x, 0, 3.8)), person((-x, 0, 3.9))
        tracked = tracker.update([near] if 6 <= k <= 8 else [near, far], k * step)
        walks = {t.body.id: float(t.body.root[0]) for t in tracked}
        if k == 0:
            first, second = sorted(walks, key=lambda id_: walks[id_])
        assert walks[first] == pytest.approx(x, abs=0.1), k
        assert walks[second] == pytest.approx(-x, abs=0.1), k


def test_who_stands_is_not_drawn_along_by_who_passes_slowly():
    tracker, step, speed = Tracker(), 0.23, 0.35
    for k in range(15):
        x = (k - 7) * step * speed
        near, far = person((x, 0, 3.8)), person((0, 0, 4.4))
        tracked = tracker.update([near] if 5 <= k <= 9 else [near, far], k * step)
        places = {t.body.id: float(t.body.root[0]) for t in tracked}
        if k == 0:
            (standing,) = (id_ for id_, place in places.items() if abs(place) < 0.1)
        assert places[standing] == pytest.approx(0, abs=0.05), k


def test_who_is_found_badly_does_not_decide_who_the_others_are():
    """Somebody seen well stays who they are, though both together would be nearer exchanged."""
    tracker = Tracker()
    for k in range(5):
        tracked = tracker.update([person((0, 0, 4)), person((0.4, 0, 4))], k * STEP)
    left, _ = sorted(tracked, key=lambda t: float(t.body.root[0]))
    clear, glimpse = person((0.15, 0, 4)), person((-0.05, 0, 4), clarity=0.08)
    after = {float(t.body.root[0]): t.body.id for t in tracker.update([glimpse, clear], 5 * STEP)}
    assert after[float(clear.root[0])] == left.body.id


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


@pytest.mark.parametrize(("step", "told"), [(2.9, range(1, 6)), (3.1, range(2, 6))])
def test_between_images_farther_apart_than_people_are_remembered_nobody_can_last(step, told):
    tracker = Tracker(TrackerConfig(birth_score=0.8, death_time=3.0))
    shown = [bool(tracker.update([person((0, 0, 4), 0.75)], k * step)) for k in range(6)]
    assert [k for k, there in enumerate(shown) if there] == list(told)


def test_somebody_found_twice_is_one_person_at_any_rate():
    tracker = Tracker(TrackerConfig(birth_score=0.8, death_time=3.0))
    for k in range(6):
        found = [person((0, 0, 4), 0.95), person((0.2, 0, 4), 0.3)]
        assert [t.body.score for t in tracker.update(found, 3.5 * k)] == [0.95]


def test_how_far_away_somebody_is_becomes_less_certain_the_longer_they_are_not_seen():
    tracker = Tracker(TrackerConfig(fill_time=3.0))
    (seen,) = tracker.update([replace(person((0, 0, 4)), depth_std=0.2)], 0.0)
    soon, late = (tracker.update([], t)[0] for t in (0.2, 2.0))
    assert seen.body.depth_std == 0.2
    assert soon.body.depth_std == pytest.approx(np.hypot(0.2, 0.1))
    assert late.body.depth_std == pytest.approx(np.hypot(0.2, 1.0))
    tracker = Tracker(TrackerConfig(fill_time=3.0))
    tracker.update([person((0, 0, 4))], 0.0)
    assert np.isnan(tracker.update([], 1.0)[0].body.depth_std)  # never known


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
    tracker = Tracker(TrackerConfig(death_time=1.0, fill_time=1.0))
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


def test_forty_people_are_tracked_at_once():
    tracker = Tracker()
    crowd = [person((x, y, 9 + 0.1 * x)) for x in range(-5, 5) for y in range(-2, 2)]
    for k in range(6):
        assert identities(tracker.update(crowd, k * STEP)) == list(range(40))


def turned(frame, yaw):
    """The same people seen by a camera that turned left: they are farther right."""
    turn = Motion.turn(yaw, 0.0)
    return [person(turn.points(np.asarray(root, float))) for root in frame]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("degrees_a_second", [-90, 90])
def test_people_keep_their_ids_when_the_camera_turns(told, degrees_a_second):
    tracker = Tracker()
    frame = [(-1.2, 0, 4), (0, 0, 5), (1.0, 0, 4.5)]
    for k in range(15):
        yaw = np.deg2rad(degrees_a_second) * (k - 7) / 15
        before = np.deg2rad(degrees_a_second) * (k - 8) / 15
        moved = Motion.turn(yaw - before, 0.0) if told and k else None
        tracked = tracker.update(turned(frame, yaw), k / 15, moved)
        assert identities(tracked) == [0, 1, 2]
        assert not any(t.predicted for t in tracked)
        order = np.argsort([t.body.root[0] for t in tracked])
        np.testing.assert_array_equal(order, [0, 1, 2])


def test_who_is_hidden_while_the_camera_turns_is_expected_where_they_are_seen_then():
    tracker = Tracker()
    frame = [(-1.0, 0, 4), (1.0, 0, 4)]
    tracker.update(turned(frame, 0.0), 0.0)
    tracker.update(turned(frame, 0.0), 0.1)
    tracked = tracker.update(turned(frame[:1], 0.3), 0.2, Motion.turn(0.3, 0.0))
    hidden = next(t for t in tracked if t.predicted)
    (expected,) = turned(frame[1:], 0.3)
    np.testing.assert_allclose(hidden.body.joints_3d[2], expected.joints_3d[2], atol=0.02)
    shift = hidden.body.joints_2d[2] - expected.joints_2d[2]
    assert np.abs(shift).max() < 0.15 * np.abs(expected.joints_2d[2] - 640).max()


def test_a_pair_seen_as_one_for_a_while_splits_into_the_same_two():
    tracker = Tracker()
    for k in range(60):
        x = -2 + 0.07 * k
        left, right = (x - 0.25, 0, 4), (x + 0.25, 0, 4.1)
        one = [person((x, 0, 4.05))]
        merged = 20 <= k < 35 or 45 <= k < 50
        tracked = tracker.update(one if merged else [person(left), person(right)], k / 15)
        assert identities(tracked) == [0, 1]
        if not merged:
            assert tracked[0].body.root[0] < tracked[1].body.root[0]


def test_a_person_hidden_for_a_second_who_walks_on_is_the_same():
    tracker = Tracker()
    for k in range(40):
        hidden = 12 <= k < 27
        found = [] if hidden else [person((-2 + 1.2 * k / 15, 0, 4))]
        (tracked,) = tracker.update(found, k / 15)
        assert tracked.body.id == 0 and tracked.predicted == hidden


@pytest.mark.parametrize("gap", [0.4, 1.0, 2.5])
def test_a_person_seen_in_another_place_after_a_gap_is_new(gap):
    tracker = Tracker()
    for k in range(5):
        tracker.update([person((-1.5, 0, 4))], k * STEP)
    tracked = tracker.update([person((1.5, 0, 4))], 0.4 + gap)
    assert [t.body.id for t in tracked if not t.predicted] == [1]


def test_ids_are_not_used_again():
    tracker = Tracker(TrackerConfig(death_time=0.2, fill_time=0.2))
    seen = []
    for k in range(30):
        seen += identities(tracker.update([person((0, 0, 4))], k * 3.0))
    assert seen == list(range(30))


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_depth", -1), ("image_weight", 1.5), ("birth_time", float("nan")), ("fill_time", 4.0)],
)
def test_rules_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        TrackerConfig(**{field: value})


@pytest.mark.parametrize(
    ("fill_time", "shown"), [(1.0, [(0, False), (1, True)]), (0.0, [(0, False)])]
)
def test_of_two_images_with_one_stamp_the_second_has_its_own_people(fill_time, shown):
    tracker = Tracker(TrackerConfig(fill_time=fill_time))
    tracker.update([person((0, 0, 4)), person((1.5, 0, 4))], 1.0)
    tracked = tracker.update([person((0, 0, 4))], 1.0)
    assert [(one.body.id, one.predicted) for one in tracked] == shown
    tracked = tracker.update([person((0, 0, 4)), person((1.5, 0, 4))], 1.1)
    assert [(one.body.id, one.predicted) for one in tracked] == [(0, False), (1, False)]


@pytest.mark.parametrize("told", [True, False])
def test_who_says_that_a_distance_is_a_guess_is_not_moved_by_it(told):
    """Somebody goes behind a pillar: of the last arm that shows the distance is wrong by 2 m."""
    tracker = Tracker()
    seen = []
    for k in range(20):
        away = 4.0 if k < 6 or k > 9 else 6.0
        body = person((0.05 * k * away / 4, 0, away))
        deviation = 0.3 if away == 4.0 else 1.8
        bodies = [replace(body, depth_std=deviation if told else float("nan"))]
        seen += [tracker.update([] if 8 <= k < 12 else bodies, k * STEP)]
    at = [people[0].body.root[2] for people in seen[8:12]]  # where the person is predicted
    if told:
        assert np.allclose(at, 4.0, atol=0.5)
        assert {people[0].body.id for people in seen} == {0}
    else:
        assert min(at) > 5.0  # nobody could know


def test_the_last_bad_glimpse_of_somebody_teaches_no_speed():
    """Somebody goes behind others; of what shows at last the place is off by 0.4 m."""
    tracker = Tracker()
    for k in range(20):
        glimpse = k in (12, 13)
        root = np.array([0.1 * k, -0.4 if glimpse else 0.0, 4.0])
        seen = [] if k > 13 else [person(root, clarity=0.2 if glimpse else 0.7)]
        tracked = tracker.update(seen, k * STEP)
    assert identities(tracked) == [0]
    x, y, _ = tracked[0].body.root
    assert abs(y) < 0.15  # were it learnt, 0.4 m
    assert 1.4 < x < 2.0  # goes on as before, fading


def test_who_is_never_clear_loses_nothing():
    tracker = Tracker()
    for k in range(20):
        seen = [person((0.1 * k, 0, 4.0), clarity=0.2)] if k < 15 else []
        tracked = tracker.update(seen, k * STEP)
    assert identities(tracked) == [0]
    assert tracked[0].body.root[0] > 1.6


def test_who_is_known_is_matched_before_somebody_who_was_never_certain():
    """Somebody reappears and is found twice at once; the better of the two is theirs."""
    tracker = Tracker()
    for k in range(4):
        tracker.update([person((0, 0, 4.0))], k * STEP)
    tracker.update(
        [person((0.05, 0, 4.1), 0.2, clarity=0.2), person((0.45, 0, 4.5), 0.15, clarity=0.15)],
        4 * STEP,
    )
    tracked = tracker.update([person((0.4, 0, 4.4), 0.8)], 5 * STEP)
    assert identities(tracked) == [0] and not tracked[0].predicted


def test_of_two_in_line_the_one_seen_is_the_one_who_was_seen_all_the_time():
    """Somebody hidden may be expected nearer to where the other one is found, as depths err."""
    tracker = Tracker()
    for k in range(8):
        tracker.update([person((-0.5, 0, 4.4)), person((-0.75 + 0.1 * k, 0, 5.0))], k / 15)
    for k in range(8, 22):  # the second one stays behind the first, whose depth is told too far
        tracked = tracker.update([person((-0.45, 0, 4.85))], k / 15)
        assert [t.body.id for t in tracked if not t.predicted] == [0]


@pytest.mark.parametrize("rate", [10, 15, 20, 30])
def test_after_a_bad_glimpse_a_person_is_found_within_the_reach_of_the_whole_gap(rate):
    """However fast a film is played: a glimpse says little of where somebody is now."""
    tracker = Tracker()
    hidden = dict.fromkeys(range(6, 10), ())
    for k in range(16):
        root = np.array([0.13 * k if k > 9 else 0.05 * k, 0, 4.5])
        shown = hidden.get(k, [person(root)])
        if k == 9:
            shown = [person(root - [0.1, 0.1, 0.4], clarity=0.15)]
        tracked = tracker.update(shown, k / rate)
        assert identities(tracked) == [0], k
    assert not tracked[0].predicted


@pytest.mark.parametrize("rate", [10, 15, 30])
@pytest.mark.parametrize("degrees_a_second", [30, 60, 90])
def test_somebody_alone_keeps_their_id_when_the_camera_looks_to_and_fro(rate, degrees_a_second):
    """Nothing tells of the turns, and there is nobody to compare with."""
    tracker = Tracker()
    for k in range(4 * rate):
        phase = (np.deg2rad(degrees_a_second) * k / rate) % np.deg2rad(80)
        yaw = abs(phase - np.deg2rad(40)) - np.deg2rad(20)
        tracked = tracker.update(turned([(0, 0, 4)], yaw), k / rate)
        assert [(t.body.id, t.predicted) for t in tracked] == [(0, False)], k


def test_where_one_is_lost_and_another_appears_farther_than_a_camera_turns_it_is_a_new_one():
    tracker = Tracker()
    for k in range(8):
        tracker.update([person((-1.0, 0, 4))], k / 15)
    tracked = tracker.update([person((0.8, 0, 4))], 8 / 15)
    assert [t.body.id for t in tracked if not t.predicted] == [1]
    # Where TF tells how the camera moved, nearer ones are new, too.
    for told, expected in ((None, 0), (Motion.turn(0.0, 0.0), 1)):
        tracker = Tracker()
        for k in range(8):
            tracker.update([person((-0.5, 0, 4))], k / 15)
        tracked = tracker.update([person((0.4, 0, 4))], 8 / 15, told)
        assert [t.body.id for t in tracked if not t.predicted] == [expected]


def test_a_known_person_is_the_certain_one_of_two():
    """Who reappears is found twice, and the doubtful one is nearer to where they would be."""
    tracker = Tracker()
    for k in range(4):
        tracker.update([person((0, 0, 4.0))], k * STEP)
    doubtful, certain = person((0.1, 0, 4.0), 0.5), person((-0.14, 0, 4.0), 0.99)
    tracked = tracker.update([doubtful, certain], 4 * STEP)
    assert identities(tracked)[0] == 0
    assert tracked[0].body.score == pytest.approx(0.99)


@pytest.mark.parametrize(("frames", "named"), [(2, [0]), (4, [0, 1])], ids=["a ghost", "somebody"])
def test_who_appears_behind_somebody_known_must_last_however_certain(frames, named):
    """Parts of two people who cross make a third one for a frame or two."""
    tracker = Tracker()
    tracker.update([person((0, 0, 4.0))], 0.0)
    for k in range(frames):
        tracked = tracker.update([person((0, 0, 4.0)), person((0.1, 0, 4.9), 0.97)], (1 + k) / 15)
    assert identities(tracked) == named


def test_who_appears_beside_somebody_known_is_told_at_once():
    tracker = Tracker()
    tracker.update([person((0, 0, 4.0))], 0.0)
    assert identities(tracker.update([person((0, 0, 4)), person((1, 0, 4.9))], 1 / 15)) == [0, 1]
    detections = Tracker(TrackerConfig(birth_score=0.0, fill_time=0.0))
    detections.update([person((0, 0, 4.0))], 0.0)
    behind = [person((0, 0, 4.0)), person((0.1, 0, 4.9), 0.3)]
    assert identities(detections.update(behind, 1 / 15)) == [0, 1]


@pytest.mark.parametrize("wrong", [2.0, 60.0, -0.7, -60.0, -1.7e9])
def test_one_wrong_stamp_renames_nobody(wrong):
    """A driver that stamps an image before its clock is set, or not at all."""
    tracker = Tracker(TrackerConfig(death_time=3.0))
    crowd = [person((0, 0, 4)), person((2, 0, 5))]
    told = [
        tracker.update(crowd, 1.7e9 + k * STEP + (wrong if k in (20, 31) else 0.0))
        for k in range(60)
    ]
    for k, people in enumerate(told):
        if k not in (20, 31):
            assert identities(people) == [0, 1], k
    assert tracker.late == (2 if wrong == -0.7 else 0)


def test_a_clock_that_is_set_ahead_or_a_pause_starts_anew():
    tracker = Tracker(TrackerConfig(death_time=3.0))
    for k in range(10):
        tracker.update([person((0, 0, 4))], k * STEP)
    told = [identities(tracker.update([person((0, 0, 4))], 100 + k * STEP)) for k in range(5)]
    assert told == [[1]] * 5
    # What was known before the pause is gone for good.
    assert identities(tracker.update([person((0, 0, 4))], 10 * STEP)) == [2]


@pytest.mark.parametrize("apart", [0.6, 0.8, 1.0, 2.5])
def test_a_stream_that_becomes_slow_renames_nobody(apart):
    tracker = Tracker(TrackerConfig(death_time=10.0, fill_time=3.0))
    for k in range(10):
        tracker.update([person((0, 0, 4))], k * STEP)
    slow = [person((0, 0, 4)), person((2, 0, 5))]
    told = [identities(tracker.update(slow, 0.9 + k * apart)) for k in range(1, 8)]
    assert told == [[0, 1]] * 7 and tracker.late == 0


def test_a_straggler_after_a_pause_is_late():
    tracker = Tracker(TrackerConfig(death_time=3.0))
    for k in range(10):
        tracker.update([person((0, 0, 4))], k * STEP)
    crowd = [person((0, 0, 4)), person((2, 0, 5))]
    assert identities(tracker.update(crowd, 3.0)) == [0, 1]
    assert tracker.update(crowd, 2.95) is None and tracker.late == 1
    assert identities(tracker.update(crowd, 3.05)) == [0, 1]


def test_a_clock_set_back_a_little_at_a_slow_rate_stays_set_back():
    tracker = Tracker(TrackerConfig(death_time=3.0))
    times = (98.0, 99.0, 100.0, 97.5, 98.5, 99.5, 100.5, 101.5)
    told = [tracker.update([person((0, 0, 4))], time) for time in times]
    assert [None if people is None else identities(people) for people in told] == [
        [0], [0], [0], None, None, [1], [1], [1],
    ]  # fmt: skip


def test_images_that_are_always_far_apart_are_no_wrong_stamps():
    tracker = Tracker(TrackerConfig(death_time=10.0, fill_time=3.0))
    for k in range(5):
        assert identities(tracker.update([person((0, 0, 4))], 2.0 * k)) == [0]
    assert tracker.update([person((0, 0, 4))], 6.5) is None
    assert tracker.late == 1
    assert identities(tracker.update([person((0, 0, 4))], 10.0)) == [0]


def turn(yaw):
    """The camera turns to the right: what is before it moves to the left."""
    c, s = np.cos(yaw), np.sin(yaw)
    return Motion(np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]), np.zeros(3))


def test_nobody_behind_a_camera_that_turns_is_told_of_in_its_pictures():
    tracker = Tracker(TrackerConfig(fill_time=3.0, death_time=5.0))
    for k in range(5):
        tracker.update([person((0, 0, 3))], k * STEP)
    yaw, told = 0.0, []
    for k in range(5, 20):
        yaw += np.radians(12)
        told.append((yaw, tracker.update([], k * STEP, turn(np.radians(12)))))
    assert any(people for _, people in told) and any(not people for _, people in told)
    for yaw, people in told:
        expected = 3 * np.cos(yaw)
        assert bool(people) == (expected > LEAST_DEPTH), yaw
        for someone in people:
            assert someone.predicted and someone.body.root[2] == pytest.approx(expected, abs=0.05)
            behind = ~(someone.body.joints_3d[:, 2] > LEAST_DEPTH)
            assert np.isnan(someone.body.joints_2d[behind]).all()
    # The camera turns back: it is the same person.
    assert identities(tracker.update([person((0, 0, 3))], 2.0, turn(-yaw))) == [0]


@pytest.mark.parametrize("way", ["full turn", "half a turn and back"])
@pytest.mark.parametrize("rate", [5.0, 10.0, 30.0])
def test_pictures_of_who_was_behind_the_camera_are_where_they_are_in_space(way, rate):
    """Told while somebody is expected, and learned from when they are seen again."""
    tracker = Tracker(TrackerConfig(fill_time=3.0, death_time=5.0))
    standing, before, told = np.array([[0.1, 0.1, 4.0], [-0.8, 0.0, 5.0]]), 0.0, []
    for k in range(int(7 * rate)):
        time = k / rate
        yaw = 2.8 * np.clip(time - 1, 0, 2.2440) if way == "full turn" else 0.0
        if way != "full turn":
            yaw = 2.5 * np.clip(min(time - 1, 3 - time), 0, 1)
        if way == "full turn" and yaw > np.pi:  # seen again as soon as they are in the picture
            yaw -= 2 * np.pi
        places = turn(yaw).points(standing)
        hidden = 4.5 < time < 5.5
        seen = [person(p) for p in places if p[2] > 1 and abs(p[0]) < 0.6 * p[2] and not hidden]
        told += tracker.update(seen, time, turn(yaw - before) if k else None)
        before = yaw
    predicted = [one for one in told if one.predicted]
    assert len(predicted) > rate and {one.body.id for one in told} == {0, 1}
    for one in predicted:
        shown = CAMERA.project(one.body.joints_3d.astype(np.float64))
        away = np.linalg.norm(one.body.joints_2d - shown, axis=1)
        inside = (np.abs(shown - [640, 360]) < [900, 600]).all(axis=1)
        assert not (away[inside] > 40).any(), (one.body.root, away)
        assert one.body.root[2] < 3 or np.isfinite(one.body.joints_2d).all()


def test_who_is_driven_at_or_rolls_keeps_the_picture_of_their_place():
    """People look larger from nearer, and turn with the camera's roll."""
    c, s = np.cos(0.1), np.sin(0.1)
    for moved in (
        Motion(np.eye(3), np.array([0.0, 0.0, -0.2])),
        Motion(np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]), np.zeros(3)),
    ):
        tracker = Tracker(TrackerConfig(fill_time=3.0, death_time=5.0))
        for k in range(5):
            tracker.update([person((0.5, 0, 6))], k * STEP)
        for k in range(5, 20):
            (one,) = tracker.update([], k * STEP, moved)
        shown = CAMERA.project(one.body.joints_3d.astype(np.float64))
        assert one.predicted and np.linalg.norm(one.body.joints_2d - shown, axis=1).max() < 3
