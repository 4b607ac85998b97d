"""People of cameras on their side, and people who lie: the learned smoother sees them stand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.temporal import BodySmoother, SmootherConfig
from smap_ros.temporal.smoothers.base import Seen
from smap_ros.temporal.smoothers.quarter_turns import QuarterTurns, turned
from tests.temporal.people import person

NECK, ROOT = 0, 2
# Metres from the pelvis, of somebody who stands.
STANDING = np.float32([
    [0, -0.5, 0], [0, -0.75, 0], [0, 0, 0],
    [0.2, -0.45, 0], [0.25, -0.2, 0.05], [0.25, 0.05, 0], [0.1, 0.02, 0], [0.12, 0.45, 0],
    [0.1, 0.85, 0.05],
    [-0.2, -0.45, 0], [-0.25, -0.2, -0.05], [-0.25, 0.05, 0], [-0.1, 0.02, 0], [-0.12, 0.45, 0],
    [-0.1, 0.85, -0.05],
])  # fmt: skip


def film(pictures=30):
    """Two people who walk, as a detector would report them."""
    rng = np.random.default_rng(9)
    for k in range(pictures):
        bodies = []
        for start in ((-1.2, 0.1, 3.5), (1.0, 0.2, 5.0)):
            body = person(np.add(start, (0.03 * k, 0, 0.02 * k)))
            joints = body.root + STANDING + rng.normal(0, 0.03, (15, 3)).astype(np.float32)
            bodies.append(replace(body, joints_3d=joints))
        yield bodies, k / 15


def smoothed(turns, delay):
    """The film's people in all pictures, float64 [T, 2, 15, 3], smoothed as turned, turned back."""
    smoother = BodySmoother(SmootherConfig(smoother="maed", delay=delay))
    answers = []
    for bodies, time in film():
        every = np.full(1, -turns)
        laid = [
            replace(b, joints_3d=turned(b.joints_3d[None], every)[0].astype(np.float32))
            for b in bodies
        ]
        answers += smoother.update(laid, time)
    answers += smoother.flush()
    people = np.array([[p.body.joints_3d for p in a.people] for a in answers], np.float64)
    return turned(people, np.full(len(people), turns))


@pytest.mark.parametrize("delay", [0, 2, 4])
def test_people_of_a_camera_with_any_side_up_are_smoothed_alike(delay):
    upright = smoothed(0, delay)
    assert upright.shape == (30, 2, 15, 3)
    for turns in (1, 2, 3):
        np.testing.assert_allclose(smoothed(turns, delay), upright, atol=1e-5)


def test_turns_are_exact_and_counterclockwise_in_the_image():
    joints = np.random.default_rng(1).normal(0, 3, (4, 2, 15, 3))
    turns = np.arange(4)
    there = turned(joints, turns)
    np.testing.assert_array_equal(turned(there, -turns), joints)
    right = turned(np.array([[[1.0, 0.0, 5.0]]]), np.array([1]))  # y is down
    np.testing.assert_array_equal(right, [[[0.0, -1.0, 5.0]]])


def leaning(degrees, missing=()):
    """Somebody whose trunk leans to the right of the image."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    x, y, z = STANDING.astype(float).T
    joints = np.stack([c * x - s * y, s * x + c * y, z], axis=1) + (0.5, 0.1, 4)
    joints[list(missing)] = np.nan
    return joints


def turns_of(leans, missing=()):
    """How somebody is turned in each picture, 15 a second."""
    turns = QuarterTurns(NECK)
    return [
        turns.update(Seen(np.array([7]), leaning(d, missing)[None], np.ones((1, 15)), k / 15, ROOT))
        for k, d in enumerate(leans)
    ]


@pytest.mark.parametrize(
    ("leans", "expected"),
    [
        ([0] * 5, [0]),
        ([90] * 5, [1]),
        ([180] * 5, [2]),
        ([-90] * 5, [3]),
        ([0] * 45 + [90] * 20 + [0] * 45, [0]),  # bends for a moment
        ([0] * 45 + [90] * 60, [0, 1]),  # lies down
        ([0] * 45 + [90] * 60 + [0] * 60, [0, 1, 0]),  # and gets up
        ([90, 0, 0], [1, 0]),  # was seen wrongly at first
        ([40, 50] * 20, [0]),  # leans half-way
        ([50, 40] * 20, [1]),
    ],
)
def test_who_lies_is_turned_and_who_bends_or_leans_is_not_turned_to_and_fro(leans, expected):
    turns = [int(of_one) for (of_one,) in turns_of(leans)]
    assert [turn for turn, _ in itertools.groupby(turns)] == expected


def test_whose_trunk_is_not_known_is_not_turned():
    assert {int(of_one) for (of_one,) in turns_of([90] * 5, missing=[NECK])} == {0}


@pytest.mark.parametrize("delay", [0, 4])
def test_who_lies_down_keeps_their_identity_and_is_told_in_each_picture(delay):
    smoother = BodySmoother(SmootherConfig(smoother="maed", delay=delay))
    answers = []
    for k in range(75):
        raw = leaning(6.0 * min(max(k - 10, 0), 15)).astype(np.float32)
        answers += smoother.update([replace(person((0.5, 0.1, 4)), joints_3d=raw)], k / 15, raw)
    answers += smoother.flush()
    assert len(answers) == 75
    for answer in answers:
        (someone,) = answer.people
        assert someone.body.id == 0
        off = np.linalg.norm(someone.body.joints_3d - answer.note, axis=1)
        assert off.mean() < 0.25


def test_below_a_camera_that_looks_down_nobody_is_turned():
    """Across the optical axis little of their trunk is seen, and noise decides where it points."""
    rng = np.random.default_rng(3)
    turns = QuarterTurns(NECK)
    seen_from_above = np.stack([STANDING[:, 0], STANDING[:, 2], STANDING[:, 1]], axis=-1)
    for k in range(300):
        joints = [0, 0, 3] + seen_from_above + rng.normal(0, 0.05, (15, 3))
        people = Seen(np.array([7]), joints[None], np.ones((1, 15)), k / 15, ROOT)
        assert turns.update(people).tolist() == [0]
