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
    ],
)
def test_malformed_labels_are_refused(change):
    with pytest.raises(InputError, match="expected"):
        scene_of(label_of(person_at(0, 4), **change))


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
