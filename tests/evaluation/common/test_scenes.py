"""Who counts, and labels that don't hold together."""

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.common.scenes import make_scene
from tests.evaluation.conftest import CAMERA, label_of, person_at, scene_of


@pytest.mark.parametrize(
    ("width", "height", "hidden", "counts"),
    [
        (20, 61, 0, True),
        (61, 20, 0, True),  # lying
        (20, 60, 0, False),  # over 60 px, not 60
        (20, 61, 8, True),  # 8 of 15 are 53 %
        (20, 61, 9, False),  # 9 of 15 are 60 %
    ],
)
def test_people_count_over_60_px_and_less_than_60_percent_hidden(width, height, hidden, counts):
    visibility = [0, 1] * (hidden // 2) + [1] * (hidden % 2) + [2] * (15 - hidden)
    label = label_of(person_at(0, 4), box=[5, 5, width, height], visibility=visibility)
    scene = scene_of(label)
    assert scene.counted.tolist() == [counts]
    assert scene.hidden[0] == pytest.approx(hidden / 15)


def test_a_scene_may_be_empty():
    scene = scene_of()
    assert scene.counted.shape == scene.hidden.shape == scene.size_px.shape == (0,)


def test_joints_behind_the_camera_have_no_pixel():
    person = person_at(0, 4)
    points = person.joints_3d.copy()
    points[5, 2] = -0.1
    (body,) = scene_of(label_of(person, joints_3d=points.tolist())).frame
    assert np.isnan(body.joints_2d[5]).all()
    assert np.isfinite(np.delete(body.joints_2d, 5, axis=0)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"visibility": [2] * 14},
        {"visibility": [2] * 14 + [-1]},
        {"box": [1, 2, 3]},
        {"joints_3d": [[0, 0, 1]] * 14},
        {"joints_2d": "none"},
        {"id": None},
        {"id": 1.5},
        {"id": True},
    ],
)
def test_malformed_labels_are_refused(change):
    with pytest.raises(InputError, match="expected"):
        scene_of(label_of(person_at(0, 4), **change))


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints_3d": [[0, 0, 4]] * 14 + [[0, NAN, 4]]}, "person 0 has joints_3d that aren't"),
        ({"joints_3d": [[0, 0, 4]] * 14 + [[None] * 3]}, "person 0 has joints_3d that aren't"),
        ({"joints_3d": [[0, 0, 4]] * 14 + [[1e39, 0, 4]]}, "person 0 has joints_3d that aren't"),
        ({"joints_2d": [[9, 9]] * 14 + [[NAN, 9]]}, "person 0 has joints_2d of what is before"),
        ({"box": [0, 0, NAN, 5]}, "person 0 has box that aren't finite"),
    ],
)
def test_places_that_are_no_numbers_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        scene_of(label_of(person_at(0, 4), **change))


def test_what_is_behind_the_camera_needs_no_place_in_the_picture():
    joints, pixels = [[0, 0, 4]] * 14 + [[0, 0, -1]], [[9, 9]] * 14 + [[NAN, NAN]]
    (body,) = scene_of(label_of(person_at(0, 4), joints_3d=joints, joints_2d=pixels)).frame
    assert np.isnan(body.joints_2d[14]).all()


def test_two_people_of_one_id_are_refused():
    with pytest.raises(InputError, match="two people have id 3"):
        scene_of(*(label_of(person_at(x, 4), id=3) for x in (-1, 1)))


@pytest.mark.parametrize("stamp", [NAN, float("inf")])
def test_a_stamp_that_is_no_number_is_refused(stamp):
    with pytest.raises(InputError, match=f"the stamp is {stamp} s"):
        make_scene([], CAMERA.to_json(), lambda: None, key="7", index=0, source="", stamp=stamp)


@pytest.mark.parametrize("field", ["id", "joints_3d", "joints_2d", "visibility", "box"])
def test_missing_labels_are_named(field):
    label = label_of(person_at(0, 4))
    del label[field]
    with pytest.raises(InputError, match=field):
        scene_of(label)


def test_a_picture_of_another_size_than_its_truth_is_refused():
    scene = make_scene(
        [], CAMERA.to_json(), lambda: np.zeros((30, 40, 3), np.uint8), key="7", index=0, source=""
    )
    with pytest.raises(InputError, match="picture 7 is 40x30 px, but its truth says 400x300"):
        scene.image()
