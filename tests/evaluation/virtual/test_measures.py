"""Protocol virtual, with numbers worked out by hand."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.metrics import compare, pa_mpjpe
from smap_ros.evaluation.virtual.measures import (
    by_group,
    by_joint,
    compare_scene,
    evaluate,
    summarise,
)
from smap_ros.skeletons import MPI15
from tests.evaluation.conftest import CAMERA, label_of, person_at, scene_of

L_WRIST, R_ANKLE = MPI15.index("l_wrist"), MPI15.index("r_ankle")
HIDDEN_9 = [1] * 9 + [2] * 6


def moved(body: Body, shift=(0.0, 0.0, 0.0), joints=slice(None)) -> Body:
    """The person with joints displaced in space; where they are seen stays."""
    points = body.joints_3d.copy()
    points[joints] += np.float32(shift)
    return replace(body, joints_3d=points)


def missing(body: Body, joint: int) -> Body:
    points, pixels, scores = body.joints_3d.copy(), body.joints_2d.copy(), body.scores.copy()
    points[joint], pixels[joint], scores[joint] = np.nan, np.nan, 0
    return replace(body, joints_3d=points, joints_2d=pixels, scores=scores)


class Given:
    """Predictions by key."""

    description = "given"

    def __init__(self, frames, camera=CAMERA):
        self._frames, self._camera = frames, camera

    def of(self, picture):
        found = self._frames.get(picture.key)
        return None if found is None else BodyFrame(tuple(found), self._camera)

    def close(self):
        """Nothing is held."""


@pytest.fixture
def outcome():
    """Two people found, one missed, two excused of whom one was found, and a ghost.

    The first is 0.1 m too far as a whole. The second has a wrist off by 0.3 m and no right ankle.
    """
    first, second, third = person_at(-1.5, 4), person_at(0, 5), person_at(2.4, 9)
    small, hidden = person_at(1.0, 5), person_at(2.0, 4.5)
    scene = scene_of(
        label_of(first, visibility=[2] * 13 + [1] * 2),
        label_of(second, id=1),
        label_of(third, box=[0, 0, 20, 61], id=2),
        label_of(small, box=[0, 0, 30, 60], id=3),
        label_of(hidden, visibility=HIDDEN_9, id=4),
    )
    found = [
        moved(first, (0, 0, 0.1)),
        missing(moved(second, (0, 0.3, 0), L_WRIST), R_ANKLE),
        hidden,
        person_at(-2.2, 9),
    ]
    return evaluate(Given({"000000": found, "000001": []}), [scene, scene_of(key="000001")])


def test_who_counts_who_is_excused_and_who_is_a_ghost(outcome):
    assert [person.found is not None for person in outcome.people] == [True, True, False]
    assert (outcome.excused, outcome.excused_found, len(outcome.ghosts)) == (2, 1, 1)
    assert (outcome.scenes, outcome.skipped) == (2, 0)


def test_the_numbers_are_those_worked_out_by_hand(outcome):
    numbers = summarise(outcome.people, len(outcome.ghosts))
    assert (numbers.people, numbers.found, numbers.ghosts) == (3, 2, 1)
    assert numbers.recall_percent == pytest.approx(200 / 3)
    assert numbers.precision_percent == pytest.approx(200 / 3)
    # The first is exact about the pelvis; the second has 300 mm over the 14 joints found.
    assert numbers.mpjpe_mm == pytest.approx((0 + 300 / 14) / 2, rel=1e-5)
    # The first, 0.1 m away from where they are, is still the same shape.
    second = outcome.people[1]
    expected = 1000 * pa_mpjpe(second.found.joints_3d, second.true.joints_3d) / 2
    assert numbers.pa_mpjpe_mm == pytest.approx(expected, abs=1e-3)
    assert expected > 5
    # 0.1 m of 4 m, and exact: the median of two is their mean.
    assert numbers.root_depth_percent == pytest.approx(1.25, rel=1e-4)
    # 15 of the first, 13 of the second (the ankle misses), none of the third.
    assert numbers.pck250_percent == pytest.approx(100 * 28 / 45)
    assert numbers.joints_percent == pytest.approx(100 * 29 / 30)


def test_joints_have_their_own_numbers(outcome):
    joints = by_joint(outcome.people)
    assert list(joints) == list(MPI15.joints)
    assert joints["l_wrist"].mpjpe_mm == pytest.approx(150, rel=1e-5)
    assert joints["l_wrist"].pck250_percent == pytest.approx(100 / 3)
    assert joints["r_ankle"].found_percent == pytest.approx(50)
    assert joints["r_ankle"].mpjpe_mm == pytest.approx(0, abs=1e-3)
    assert joints["neck"].pck250_percent == pytest.approx(200 / 3)


def test_groups_share_out_everybody(outcome):
    groups = by_group(outcome)
    people = {
        title: {n: g.people for n, g in rows.items() if g.people} for title, rows in groups.items()
    }
    assert people == {
        "distance": {"4-6 m": 2, "8 m or more": 1},
        "joints hidden": {"below 10 %": 2, "10-25 %": 1},
        "field of view": {"60-75 deg": 3},  # 2 atan(200 / 300) = 67.4 degrees
        "framing": {"pelvis in the picture": 3},
    }
    assert groups["distance"]["8 m or more"].recall_percent == 0
    assert groups["field of view"]["60-75 deg"].precision_percent == pytest.approx(200 / 3)
    assert math.isnan(groups["distance"]["4-6 m"].precision_percent)


def test_a_pelvis_outside_the_picture_is_told_apart():
    person = person_at(0, 4)
    visibility = [2] * 15
    visibility[MPI15.root] = 0
    outcome = compare_scene(scene_of(label_of(person, visibility=visibility)), [person])
    framing = by_group(outcome)["framing"]
    assert framing["pelvis outside"].recall_percent == 100
    assert framing["pelvis in the picture"].people == 0


def test_250_mm_are_a_miss_and_less_is_a_hit():
    person = person_at(0, 4)
    for shift, hits in ((0.249, 15), (0.251, 0)):
        outcome = compare_scene(scene_of(label_of(person)), [moved(person, (0, 0, shift))])
        assert outcome.people[0].hits.sum() == hits


def test_depth_errors_keep_their_sign():
    person = person_at(0, 4)
    outcome = compare_scene(scene_of(label_of(person)), [moved(person, (0, 0, -0.2))])
    assert outcome.people[0].depth_share == pytest.approx(-0.05, rel=1e-4)


def test_without_excused_people_the_demo_counts_the_same():
    true = [person_at(x, 4) for x in (-1.5, 0, 1.5)]
    found = [moved(true[0], (0.05, 0, 0.2)), moved(true[1], (0, 0.1, 0), L_WRIST), person_at(0, 9)]
    scene = scene_of(*(label_of(body, id=k) for k, body in enumerate(true)))
    ours = summarise(compare_scene(scene, found).people, 1)
    theirs = compare([BodyFrame(tuple(found), CAMERA)], [scene.frame])
    assert ours.found == theirs.matched
    assert ours.mpjpe_mm == pytest.approx(theirs.mpjpe_mm)
    assert ours.pa_mpjpe_mm == pytest.approx(theirs.pa_mpjpe_mm)
    assert ours.root_depth_percent == pytest.approx(theirs.root_depth_percent)
    assert ours.recall_percent == pytest.approx(100 * theirs.recall)
    assert ours.precision_percent == pytest.approx(100 * theirs.precision)


def test_pictures_without_predictions_do_not_count_but_are_told():
    scenes = [scene_of(label_of(person_at(0, 4)), key=key) for key in ("a", "b")]
    outcome = evaluate(Given({"b": []}), scenes)
    assert (outcome.scenes, outcome.skipped, len(outcome.people)) == (1, 1, 1)


def test_predictions_of_other_data_are_refused():
    with pytest.raises(InputError, match="given has none of the 1 pictures"):
        evaluate(Given({}), [scene_of()])


def test_another_focal_length_is_told(caplog):
    other = Camera(400, 300, 330.0, 330.0, 199.5, 149.5)
    with caplog.at_level(logging.WARNING):
        evaluate(Given({"000000": []}, other), [scene_of()])
    assert "1 of 1 pictures were estimated with another focal length" in caplog.text


def test_nobody_gives_no_numbers():
    numbers = summarise([], 0)
    values = (numbers.recall_percent, numbers.precision_percent, numbers.mpjpe_mm)
    assert all(math.isnan(value) for value in (*values, numbers.pck250_percent))


def test_progress_is_told_for_every_scene():
    ticks = []
    evaluate(Given({"000000": []}), [scene_of(), scene_of(key="x")], lambda: ticks.append(1))
    assert len(ticks) == 2
