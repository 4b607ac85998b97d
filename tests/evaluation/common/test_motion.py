"""Measures of motion, on motion whose measures are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.evaluation.common.identities import Pairing
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.motion import (
    Track,
    TrackCollector,
    identity_switches,
    lag,
    motion_numbers,
)
from smap_ros.skeletons import MPI15
from tests.temporal.people import CAMERA, SHAPE, person

T = 60
STAMPS = np.arange(T) / 15
WALK = np.stack([0.8 * STAMPS - 1.5, 0.1 * np.sin(3 * STAMPS), 4 + 0 * STAMPS], axis=1)
TRUE = SHAPE + WALK[:, None]


def track(found, ids=None):
    known = np.isfinite(found).all(axis=(1, 2))
    return Track(TRUE, found, np.where(known, 3, -1) if ids is None else ids, STAMPS)


def test_the_truth_itself_has_no_errors():
    numbers = motion_numbers([track(TRUE.copy())])
    assert (numbers.people, numbers.poses, numbers.switches) == (1, T, 0)
    for value in (numbers.mpjpe_mm, numbers.pa_mpjpe_mm, numbers.acceleration, numbers.lag):
        assert value == pytest.approx(0, abs=1e-6)
    assert numbers.depth_percent == pytest.approx(0, abs=1e-9)


def test_noise_raises_acceleration_by_the_root_of_six_and_bones_spread():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, TRUE.shape)
    numbers = motion_numbers([track(TRUE + noise)])
    # Second differences of white noise: (1 + 4 + 1) times its variance; mean norm of 3 axes.
    mean_norm = 2 * math.sqrt(2 / math.pi)
    assert numbers.acceleration == pytest.approx(20 * math.sqrt(6) * mean_norm, rel=0.05)
    assert numbers.bones_percent > 3
    assert numbers.mpjpe_mm == pytest.approx(20 * math.sqrt(2) * mean_norm * 14 / 15, rel=0.05)


def test_a_truth_that_lacks_joints_is_measured_by_the_others():
    true = TRUE.copy()
    true[10:30, 5] = np.nan
    shaky = TRUE + np.random.default_rng(0).normal(0, 0.02, TRUE.shape)
    numbers = motion_numbers([Track(true, shaky, np.zeros(T, np.int64), STAMPS)])
    assert all(math.isfinite(v) for v in vars(numbers).values())
    assert numbers.jerk > 1


def test_depth_errors_are_shares_and_do_not_count_as_pose():
    numbers = motion_numbers([track(TRUE + [0, 0, 0.4])])
    assert numbers.depth_percent == pytest.approx(10, abs=1e-6)
    assert numbers.mpjpe_mm == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("late", [0, 1, 2, 3])
def test_lag_is_what_people_are_late_by(late):
    found = np.full_like(TRUE, np.nan)
    wave = 0.4 * np.sin(2.5 * STAMPS)
    true = TRUE + np.stack([wave, 0 * wave, 0 * wave], axis=1)[:, None]
    found[late:] = true[: T - late]
    assert lag(Track(true, found, np.zeros(T, np.int64), STAMPS)) == pytest.approx(late, abs=0.1)


def test_who_stands_has_no_lag_and_nobody_gives_no_number():
    still = np.broadcast_to(SHAPE + [0, 0, 4.0], TRUE.shape)
    assert math.isnan(lag(Track(still, still + 0.01, np.zeros(T, np.int64), STAMPS)))
    numbers = motion_numbers([track(np.full_like(TRUE, np.nan))])
    assert (numbers.people, numbers.poses) == (0, 0) and math.isnan(numbers.mpjpe_mm)


def test_jerk_is_of_the_pose_and_one_is_as_lively_as_the_truth():
    rng = np.random.default_rng(1)
    swing = 0.1 * np.sin(4 * STAMPS)[:, None, None] * rng.normal(0, 1, (1, 15, 3))
    swing[:, 2] = 0
    true = TRUE + swing
    zeros = np.zeros(T, np.int64)
    assert motion_numbers([Track(true, true, zeros, STAMPS)]).jerk == pytest.approx(1)
    lazy = TRUE + 0.5 * swing
    assert motion_numbers([Track(true, lazy, zeros, STAMPS)]).jerk == pytest.approx(0.5, rel=0.01)


def test_switches_count_over_gaps():
    ids = np.array([1, 1, -1, 1, 2, 2, -1, -1, 1] + [1] * (T - 9))
    assert motion_numbers([track(TRUE.copy(), ids)]).switches == 2


def numbered(places, ids, index):
    people = [replace(b, id=i) for b, i in zip(places, ids, strict=True)]
    return BodyFrame(tuple(people), CAMERA, index / 15, index=index)


def test_identities_that_two_people_exchange_are_two_switches():
    places = [person((0, 0, 4)), person((2, 0, 5))]
    true = [numbered(places, (1, 2), k) for k in range(4)]
    same = [numbered(places, (7, 8), k) for k in (0, 1, 3)]
    assert identity_switches(same, true) == 0
    exchanged = [numbered(places, (7, 8), 0), numbered(places, (8, 7), 2)]
    assert identity_switches([*exchanged, numbered(places, (3, 4), 9)], true) == 2


def test_who_need_not_be_found_switches_nothing():
    """As for all else that stands in one table with it; see `compare`."""
    places = [person((0, 0, 4)), person((2, 0, 5))]
    true = [numbered(places, (1, 2), k) for k in range(3)]
    found = [numbered(places, ids, k) for k, ids in enumerate([(7, 8), (7, 9), (7, 8)])]
    assert identity_switches(found, true) == 2
    assert identity_switches(found, true, {1: np.array([True, False])}) == 0
    assert identity_switches(found, true, {1: np.array([False, True])}) == 2


def test_an_identity_that_went_from_one_to_another_and_stays_is_a_switch_of_both():
    """Somebody gets a new one while the other, who has theirs, is near enough to be them."""
    near, beside = person((0, 0, 4)), person((0.1, 0, 4))
    true = [numbered([near], (0,), 0), numbered([beside], (1,), 1)]
    true += [numbered([near, beside], (0, 1), k) for k in (2, 3)]
    found = [numbered([near], (7,), 0), numbered([beside], (7,), 1)]
    assert identity_switches(found, true) == 0
    found += [numbered([near, beside], (8, 7), k) for k in (2, 3)]
    assert identity_switches(found, true) == 1


def test_an_identity_has_one_owner():
    """It went to another, who is still there: who had it before doesn't take it from them."""
    pairing = Pairing()
    far = math.inf
    assert pairing(np.array([[0.1, far]]), [7], [0, 1]) == [(0, 0)]
    assert pairing(np.array([[far, 0.1]]), [7], [0, 1]) == [(0, 1)]
    cost = np.array([[0.3, 0.4], [0.2, far]])
    assert sorted(pairing(cost, [7, 8], [0, 1])) == [(0, 1), (1, 0)]
    assert sorted(pairing(cost, [7, 8], [0, 1])) == [(0, 1), (1, 0)]
    for shape in (0, 2), (2, 0), (0, 0):
        assert pairing(np.zeros(shape), [1] * shape[0], [2] * shape[1]) == []


def test_nobody_exchanges_nothing():
    both = [person((0, 0, 4)), person((2, 0, 5))]
    empty, true = numbered([], (), 0), numbered(both, (0, 1), 0)
    for found, there in ([], [true]), ([true], []), ([empty], [true]), ([true], [empty]):
        assert identity_switches(found, there) == 0
    unnamed = numbered(both, (None, None), 0)
    assert identity_switches([true, unnamed, true], [true]) == 0
    lost = replace(both[0], joints_2d=np.full((15, 2), np.nan, np.float32))
    assert identity_switches([true, numbered([lost, both[1]], (5, 1), 0), true], [true]) == 0


def test_who_are_in_line_exchange_nothing_by_being_measured_a_little_off():
    """Each is found nearer to the other, in the second picture only."""
    true, found = [], []
    for k, x in enumerate((-0.5, -0.01, 0.5)):
        off = 0.05 if k == 1 else 0.0
        true.append(numbered([person((x, 0, 4)), person((-x, 0, 4.1))], (1, 2), k))
        seen = [person((x + off, 0, 4)), person((-x - off, 0, 4.1))]
        found.append(numbered(seen, (7, 8), k))
    assert match_by_pelvis(found[1].bodies, true[1].bodies) == [(0, 1), (1, 0)]
    assert identity_switches(found, true) == 0
    collector = TrackCollector()
    for ours, theirs in zip(found, true, strict=True):
        collector.add(ours.stamp, ours.bodies, theirs.bodies, np.ones(2, np.bool_))
    first, second = collector.tracks()
    assert first.ids.tolist() == [7] * 3 and second.ids.tolist() == [8] * 3
    assert motion_numbers([first, second]).switches == 0


def test_collected_tracks_are_of_true_people_and_leave_out_who_does_not_count():
    collector = TrackCollector()
    for k in range(4):
        true = [person((0, 0, 4)), person((2, 0, 5))]
        true = [b.__class__(b.joints_3d, b.joints_2d, b.scores, 1.0, i) for i, b in enumerate(true)]
        found = [person((2.01, 0, 5)), person((0.01, 0, 4))]
        found = [
            b.__class__(b.joints_3d, b.joints_2d, b.scores, 1.0, 7 + i) for i, b in enumerate(found)
        ]
        collector.add(k / 15, found, true, np.array([True, k < 2]))
    first, second = collector.tracks()
    assert first.ids.tolist() == [8] * 4 and second.ids.tolist() == [7, 7, -1, -1]
    assert np.isfinite(first.found).all() and np.isnan(second.found[2:]).all()


def taken(numbers, found):
    """The only track of pictures of those numbers, and the step between its rows."""
    collector = TrackCollector()
    for k in numbers:
        there = replace(person(WALK[k]), id=1)
        seen = replace(there, joints_3d=found[k].astype(np.float32))
        collector.add(STAMPS[k], [seen], [there], np.ones(1, np.bool_), k)
    (one,) = collector.tracks()
    return one, collector.stride


@pytest.mark.parametrize("lost", [[20], [20, 21], range(20, 50), [9, 20, 33, 47]])
def test_motion_is_measured_only_over_pictures_that_follow_one_another(lost):
    noise = np.random.default_rng(0).normal(0, 0.02, TRUE.shape)
    noise[:, MPI15.root] = 0
    kept = [k for k in range(T) if k not in lost]
    whole, stride = taken(kept, TRUE + noise)
    pieces = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)
    apart = [np.diff(noise[piece], 2, axis=0) for piece in pieces]
    expected = 1000 * np.linalg.norm(np.concatenate(apart), axis=2).mean()
    assert stride == 1
    assert motion_numbers([whole]).acceleration == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(whole.found).all(axis=(1, 2)).sum() == len(kept)


def test_of_pairs_of_pictures_there_is_no_acceleration_or_jerk():
    numbers = motion_numbers([taken([k for k in range(T) if k % 3], TRUE)[0]])
    assert np.isnan([numbers.acceleration, numbers.relative_acceleration, numbers.jerk]).all()
    assert numbers.mpjpe_mm == pytest.approx(0, abs=1e-3)


def test_where_every_second_picture_is_taken_that_is_the_step():
    track_of_all, stride = taken(range(0, T, 2), TRUE)
    assert (stride, len(track_of_all.true)) == (2, T // 2)
    assert motion_numbers([track_of_all]).acceleration == pytest.approx(0, abs=1e-2)
    with_gap, stride = taken([k for k in range(0, T, 2) if k not in (20, 22)], TRUE)
    assert (stride, len(with_gap.true)) == (2, T // 2)
    assert np.isnan(with_gap.found[[10, 11]]).all()


def test_a_gap_makes_nobody_who_walks_stand():
    """0.6 metres a second, in the pictures that there are."""
    turns = 0.2 * np.sin(2.5 * STAMPS)
    true = SHAPE + np.stack([0.6 * STAMPS + turns, 0 * STAMPS, 4 + 0 * STAMPS], axis=1)[:, None]
    late = np.concatenate([true[:2], true[:-2]])
    numbers = [Track(true.copy(), late.copy(), np.zeros(T, np.int64), STAMPS) for _ in range(2)]
    for joints in (numbers[1].true, numbers[1].found):
        joints[24:39] = np.nan
    assert [lag(one) for one in numbers] == pytest.approx([2, 2], abs=0.2)


def test_somebody_who_comes_back_after_an_hour_takes_no_memory_for_it():
    collector = TrackCollector()
    for k in (*range(5), *range(10**9, 10**9 + 5)):
        there = replace(person((0, 0, 4)), id=1)
        collector.add(k / 15, [there], [there], np.ones(1, np.bool_), k)
    (one,) = collector.tracks()
    assert len(one.true) < 100 and one.stamps[-1] == (10**9 + 4) / 15
