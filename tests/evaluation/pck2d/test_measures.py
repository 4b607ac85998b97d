"""Protocol pck2d, with numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.pck2d.measures import (
    JOINTS,
    THRESHOLDS,
    by_joint,
    curves,
    evaluate,
    hips,
    last,
    nearest,
    torso,
    torso_errors,
    total,
    total_projected,
)
from smap_ros.evaluation.pck2d.truth import Photo, PhotoFiles, read_lspet
from smap_ros.skeletons import MPI15
from tests.evaluation.conftest import UPRIGHT

# Shoulders to hips: 60 px, so 12 px are 0.2 of the torso.
LABELS = np.array(
    [{**UPRIGHT, "neck": (60, 50), "pelvis": (60, 110)}[joint] for joint in MPI15.joints],
    np.float32,
)
WRIST, KNEE = MPI15.index("l_wrist"), MPI15.index("r_knee")


def found(pixels: np.ndarray) -> Body:
    pixels = pixels.astype(np.float32)
    present = np.isfinite(pixels).all(axis=1).astype(np.float32)
    return Body(np.zeros((15, 3), np.float32), pixels, present, 0.9)


def photo(tmp_path, labels: np.ndarray = LABELS, name: str = "a") -> Photo:
    return Photo(f"images/{name}.jpg", 120, 200, labels.astype(np.float32), PhotoFiles(tmp_path))


class Given:
    """People by key."""

    description = "given"

    def __init__(self, **people):
        self._people = people

    def of(self, picture):
        people = self._people.get(picture.key)
        return (
            None if people is None else BodyFrame(tuple(people), Camera(120, 200, 99, 99, 60, 99))
        )

    def close(self):
        """Nothing is held."""


@pytest.mark.parametrize(("away", "hit"), [(11.9, True), (12.1, False)])
def test_a_joint_is_right_within_a_fifth_of_the_torso(tmp_path, away, hit):
    pixels = LABELS.copy()
    pixels[WRIST, 0] += away
    outcome = evaluate(Given(a=[found(pixels)]), [photo(tmp_path)])
    assert outcome.photos[0].hits == 13 + hit
    assert outcome.photos[0].labelled == 14
    assert total(outcome.photos) == pytest.approx(100 * (13 + hit) / 14)


def test_poses_in_metres_are_compared_where_they_project(tmp_path):
    """Seen where they are labelled, but placed 13 px beside, or nowhere."""
    camera = Camera(120, 200, 99, 99, 60, 99)
    joints = camera.back_project(LABELS.astype(float), np.full(15, 3.0)).astype(np.float32)
    placed = replace(found(LABELS), joints_3d=joints)
    outcome = evaluate(Given(a=[placed]), [photo(tmp_path)])
    assert total(outcome.photos) == total_projected(outcome.photos) == pytest.approx(100)
    joints[WRIST, 0] += 13 * 3.0 / 99
    joints[KNEE] = np.nan
    outcome = evaluate(Given(a=[replace(placed, joints_3d=joints)]), [photo(tmp_path)])
    assert total(outcome.photos) == pytest.approx(100)
    assert total_projected(outcome.photos) == pytest.approx(100 * 12 / 14)
    nobody = evaluate(Given(a=[]), [photo(tmp_path)])
    assert total_projected(nobody.photos) == 0


def test_missing_joints_are_wrong_and_unlabelled_ones_do_not_count():
    labels, pixels = LABELS.copy(), LABELS.copy()
    labels[KNEE] = np.nan
    pixels[WRIST] = np.nan
    errors = torso_errors(pixels, labels)
    assert errors[WRIST] == math.inf
    assert np.isnan(errors[[KNEE, MPI15.root]]).all()
    assert (errors[[k for k in JOINTS if k not in (WRIST, KNEE)]] == 0).all()
    nobody = torso_errors(None, labels)
    assert (np.isinf(nobody) == ~np.isnan(errors)).all()


def test_every_joint_weighs_the_same_however_often_it_is_labelled(tmp_path):
    rare = LABELS.copy()
    rare[WRIST] = np.nan
    wrong = LABELS.copy()
    wrong[WRIST] += 50
    outcome = evaluate(
        Given(a=[found(wrong)], b=[found(LABELS)], c=[found(LABELS)]),
        [photo(tmp_path), photo(tmp_path, rare, "b"), photo(tmp_path, rare, "c")],
    )
    joints = by_joint(outcome.photos)
    assert len(joints) == 14
    assert (joints["l_wrist"].pck_percent, joints["l_wrist"].labelled) == (0, 1)
    assert (joints["r_wrist"].pck_percent, joints["r_wrist"].labelled) == (100, 3)
    assert total(outcome.photos) == pytest.approx(100 * 13 / 14)


def test_a_joint_that_is_never_labelled_has_no_number(tmp_path):
    labels = LABELS.copy()
    labels[KNEE] = np.nan
    outcome = evaluate(Given(a=[found(LABELS)]), [photo(tmp_path, labels)])
    assert math.isnan(by_joint(outcome.photos)["r_knee"].pck_percent)
    assert total(outcome.photos) == 100


def test_the_torso_reaches_to_the_one_labelled_hip_and_else_is_unknown():
    assert torso(LABELS) == 60
    one = LABELS.copy()
    one[[MPI15.root, MPI15.index("l_hip")]] = np.nan
    np.testing.assert_array_equal(hips(one), LABELS[MPI15.index("r_hip")])
    assert torso(one) == pytest.approx(math.hypot(10, 60))
    one[MPI15.index("r_hip")] = np.nan
    assert math.isnan(torso(one))
    assert math.isnan(torso(np.zeros((15, 2), np.float32)))


def test_photos_without_a_torso_are_left_out_and_counted(tmp_path):
    labels = LABELS.copy()
    labels[MPI15.index("neck")] = np.nan
    people = [found(LABELS)]
    outcome = evaluate(
        Given(a=people, b=people), [photo(tmp_path, labels), photo(tmp_path, name="b")]
    )
    assert (len(outcome.photos), outcome.unmeasurable, outcome.skipped) == (1, 1, 0)


def test_the_person_with_the_nearest_pelvis_is_compared(tmp_path):
    lost = LABELS.copy()
    lost[MPI15.root] = np.nan
    people = [found(LABELS + 40), found(lost), found(LABELS + 5)]
    assert nearest(people, photo(tmp_path)) is people[2]
    assert nearest(people[1:2], photo(tmp_path)) is people[1]
    assert nearest([], photo(tmp_path)) is None


def test_curves_rise_from_exact_joints_to_all(tmp_path):
    pixels = LABELS.copy()
    pixels[:, 1] += np.linspace(0, 20, 15)
    outcome = evaluate(Given(a=[found(pixels)]), [photo(tmp_path)])
    lines = curves(outcome.photos)
    assert set(lines) == {
        "neck", "head_top", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "all",
    }  # fmt: skip
    for values in lines.values():
        assert len(values) == len(THRESHOLDS)
        assert (np.diff(values) >= 0).all()
        assert (values[0], values[-1]) == (0, 100)
    assert lines["all"][THRESHOLDS.index(0.2)] == pytest.approx(total(outcome.photos))
    # Left and right wrist are 7.1 and 15.7 px off: 0.12 and 0.26 of the torso.
    assert lines["wrist"][THRESHOLDS.index(0.2)] == 50


def test_photos_without_predictions_are_told(tmp_path):
    photos = [photo(tmp_path), photo(tmp_path, name="b")]
    assert evaluate(Given(b=[]), photos).skipped == 1
    with pytest.raises(InputError, match="given has none of the 2 photos"):
        evaluate(Given(), photos)


def test_photos_without_any_torso_are_not_blamed_on_the_predictions(tmp_path):
    labels = LABELS.copy()
    labels[MPI15.index("neck")] = np.nan
    with pytest.raises(InputError, match="none of the 1 photos can be measured") as caught:
        evaluate(Given(a=[found(LABELS)]), [photo(tmp_path, labels)])
    assert "given" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "keys"), [(1, ["c"]), (2, ["b", "c"]), (9, [*"abc"]), (0, [*"abc"])]
)
def test_the_last_photos_are_taken(tmp_path, count, keys):
    photos = [photo(tmp_path, name=name) for name in "abc"]
    assert [p.key for p in last(photos, count)] == keys


def test_an_archive_is_measured_whole(lspet):
    photos = read_lspet(lspet([UPRIGHT, UPRIGHT]))
    outcome = evaluate(Given(**{"00000": [found(LABELS)], "00001": []}), photos)
    assert total(outcome.photos) == pytest.approx(50)
