"""Poses as wrong as detectors make them: how far off, how often, and whose joints they take."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.skeletons import COCO17
from smap_train.data.pose_errors import SIGMAS, distances, disturbed, shares

PERSON = np.array(
    [
        [64, 20], [69, 16], [59, 16], [74, 20], [54, 20], [84, 60], [44, 60], [94, 95], [34, 95],
        [98, 130], [30, 130], [76, 135], [52, 135], [78, 185], [50, 185], [79, 235], [49, 235],
    ],
    float,
)  # fmt: skip
AREA = (98 - 30) * (235 - 16)
ALL = np.ones(17, bool)
NOBODY = np.zeros((0, 17, 3))


def drawn(others=NOBODY, valid=ALL, count=600):
    return np.array(
        [disturbed(PERSON, valid, others, np.random.default_rng(k)) for k in range(count)]
    )


def test_distances_are_those_of_the_similarity():
    for k, value in enumerate((0.85, 0.5, 0.1)):
        d = distances(AREA)[:, k]
        np.testing.assert_allclose(np.exp(-(d**2) / (2 * AREA * (2 * SIGMAS) ** 2)), value)


def test_how_often_joints_are_wrong():
    many, ten, five = shares(17, 0), shares(10, 0), shares(5, 0)
    nose, shoulder, elbow, hip, ankle = (COCO17.index(n) for n in (
        "nose", "l_shoulder", "l_elbow", "r_hip", "r_ankle"
    ))  # fmt: skip
    assert many[nose].tolist() == [0.10, 0.02, 0.01, 0.01]
    assert many[shoulder].tolist() == [0.15, 0.05, 0.03, 0.06]
    assert many[hip].tolist() == [0.20, 0.10, 0.06, 0.03]
    assert ten[ankle].tolist() == pytest.approx([0.15, 0.13, 0.06, 0.03])
    assert five[elbow].tolist() == pytest.approx([0.20, 0.25, 0.03, 0.06])
    for crowded in (shares(10, 1), shares(15, 3)):
        assert crowded[[nose, elbow, hip], 3].tolist() == [0.02, 0.15, 0.10]
    for alone in (shares(15, 2), shares(17, 9)):
        assert alone[elbow, 3] == 0.06


def test_most_joints_are_nearly_right_and_the_others_in_their_rings():
    off = np.linalg.norm(drawn() - PERSON, axis=-1)
    d85, d50, d10 = distances(AREA).T
    good = (off <= d85).mean(axis=0)
    hip = COCO17.index("l_hip")  # without neighbours: the shares but for swaps, over their sum
    assert good[hip] == pytest.approx(0.61 / 0.97, abs=0.07)
    jitter = ((off > d85) & (off <= d50)).mean(axis=0)
    assert jitter[hip] == pytest.approx(0.20 / 0.97, abs=0.06)
    nose = COCO17.index("nose")  # has no partner to be mixed up with
    assert off[:, nose].max() <= d10[nose]


def test_misses_are_nobodys_and_inversions_are_the_partners():
    off = np.linalg.norm(drawn() - PERSON, axis=-1)
    partner = np.linalg.norm(drawn() - PERSON[COCO17.flip], axis=-1)
    d50 = distances(AREA)[:, 1]
    wrist = COCO17.index("l_wrist")  # far from the right one
    inverted = partner[:, wrist] <= d50[wrist]
    assert 0.01 < inverted.mean() < 0.08
    assert (partner[inverted, wrist] < off[inverted, wrist]).all()


def test_joints_are_swapped_with_people_who_are_near():
    """Three people to the right, so that the crowd's shares count."""
    others = np.concatenate([np.tile(PERSON + (40, 0), (3, 1, 1)), np.ones((3, 17, 1))], axis=-1)
    few = ALL.copy()
    few[:3] = False
    elbow = COCO17.index("l_elbow")
    reach = distances(np.prod(np.ptp(PERSON[few], axis=0)))[elbow, 1]

    def near(found):
        off = np.linalg.norm(found[:, elbow] - (PERSON[elbow] + (40, 0)), axis=-1)
        return (off <= reach).mean()

    assert near(drawn(others, few)) > near(drawn(NOBODY, few)) + 0.05
    unlabelled = others.copy()
    unlabelled[..., 2] = 0
    np.testing.assert_array_equal(drawn(unlabelled, few, 20).shape, (20, 17, 2))


def test_a_person_of_one_joint_stays_as_they_are():
    one = np.zeros(17, bool)
    one[3] = True
    found = disturbed(PERSON, one, NOBODY, np.random.default_rng(0))
    np.testing.assert_array_equal(found, PERSON)
