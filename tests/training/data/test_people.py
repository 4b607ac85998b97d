"""Data sets of people in the schema of their publishers, and what a network is shown of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.estimators.persons.crops import Crop
from smap_ros.skeletons import COCO17, H36M17, H36M18, MPI15, MUCO21
from smap_train.data.layouts.keypoints import FORMS
from smap_train.data.layouts.people import Layout, PeopleData
from smap_train.data.layouts.virtual import Clear, open_virtual_people
from smap_train.data.person_crop import View, covered, cut, matrix_of, person_crop, viewed
from smap_train.engine.sampling import BadRecordError
from smap_train.targets.volume import cells

from .bodies import SIZE, body, write_scenes
from .test_smap_sources import coco_file, coco_person, muco_file


def opened(layout: str, annotations: Path, **settings):
    return PeopleData(
        layout=layout, annotations=annotations, images=annotations.parent / "images", **settings
    ).open()


def h36m(folder: Path, **image) -> Path:
    """A subject with one camera, three frames, and joints 4 m in front of it."""
    images = [
        {"id": 10 + k, "file_name": f"s_01_act_02/{k:06d}.jpg", "width": 1000, "height": 1002,
         "subject": 1, "action_idx": 2, "subaction_idx": 1, "cam_idx": 3, "frame_idx": k, **image}
        for k in (0, 3, 5)
    ]  # fmt: skip
    boxes = [{"id": k, "image_id": 10 + k, "bbox": [300, 200, 300, 600]} for k in (0, 3, 5)]
    camera = {"3": {"R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "t": [0, 0, 4000.0],
                    "f": [1100.0, 1200.0], "c": [512.0, 515.0]}}  # fmt: skip
    joints = [[10.0 * k, 5.0 * k, 900 - 50.0 * k] for k in range(17)]
    for kind, content in (
        ("data", {"images": images, "annotations": boxes}),
        ("camera", camera),
        ("joint_3d", {"2": {"1": {str(k): joints for k in (0, 3, 5)}}}),
    ):
        (folder / f"Human36M_subject1_{kind}.json").write_text(json.dumps(content))
    return folder


def test_human36m(tmp_path):
    people = opened("h36m", h36m(tmp_path), every=5)
    assert len(people) == 2  # frames 0 and 5
    record = people[1]
    assert record.image == tmp_path.parent / "images/s_01_act_02/000005.jpg"
    assert record.skeleton is H36M18 and record.has_depth
    k = np.arange(17.0)
    camera_mm = np.stack([10 * k, -(900 - 50 * k), 5 * k + 4000], 1)  # R X + t
    np.testing.assert_allclose(record.joints[:17, 2:5], camera_mm / 1000)
    np.testing.assert_allclose(record.joints[3, 0], 1100 * 30 / 4015 + 512)
    np.testing.assert_allclose(record.joints[3, 1], 1200 * -750 / 4015 + 515)
    shoulders = [H36M17.index("l_shoulder"), H36M17.index("r_shoulder")]
    np.testing.assert_allclose(record.joints[17, 2:5], camera_mm[shoulders].mean(0) / 1000)
    # Sets without a thorax call it neck.
    moved = record.person(MPI15)
    np.testing.assert_allclose(moved.points[MPI15.index("neck")], record.joints[17, 2:5])


def test_a_subject_without_its_joints_is_refused(tmp_path):
    h36m(tmp_path)
    (tmp_path / "Human36M_subject1_joint_3d.json").unlink()
    with pytest.raises(InputError, match=r"subject1_joint_3d.json is missing"):
        opened("h36m", tmp_path)
    with pytest.raises(InputError, match=r"subject7_data.json is missing"):
        opened("h36m", tmp_path, subjects=[7])
    with pytest.raises(InputError, match=r"has no Human36M_subjectN_data.json"):
        opened("h36m", tmp_path / "elsewhere")


def test_a_frame_without_joints_is_named(tmp_path):
    people = opened("h36m", h36m(tmp_path, subaction_idx=2))
    with pytest.raises(BadRecordError, match=r"subject1_data.json, image 10: is malformed"):
        people[0]


def test_of_muco_the_nearest_and_those_who_stand_apart(tmp_path):
    path = muco_file(tmp_path)
    content = json.loads(path.read_text())
    (first,) = content["annotations"]
    for number, (x, z) in enumerate([(300, 2900), (2000, 5000), (1700, 5500)], start=1):
        joints = (np.array(first["keypoints_cam"]) + (x, 0, z - 3000)).tolist()
        content["annotations"].append({**first, "id": number, "keypoints_cam": joints})
    path.write_text(json.dumps(content))
    # 0 and 1 are 0.3 m apart, 2 and 3 are in x and y: 1 is the nearest, nobody else is apart.
    (record,) = opened("muco", path)
    assert record.place.endswith("image 1, annotation 1")
    np.testing.assert_allclose(record.joints[5, :5], [35, 100, 0.305, -0.005, 2.905])
    assert record.joints[:, 5].all() and record.skeleton is MUCO21
    content["annotations"][3]["keypoints_cam"] = (
        np.array(first["keypoints_cam"]) + (3000, 0, 2500)
    ).tolist()
    path.write_text(json.dumps(content))
    places = [r.place.rsplit(" ", 1)[1] for r in opened("muco", path)]
    assert places == ["1", "2", "3"]


def test_coco_has_a_thorax_where_both_shoulders_are_labelled(tmp_path):
    hidden = coco_person(2, 9)
    hidden["keypoints"][3 * 5 + 2] = 0
    people = opened("coco", coco_file(
        tmp_path, coco_person(1, 25), hidden, coco_person(3, 25, iscrowd=1),
        coco_person(4, 9, num_keypoints=0), coco_person(5, 9, bbox=[700, 40, 100, 180]),
    ))  # fmt: skip
    assert [r.place.rsplit(" ", 1)[1] for r in people] == ["2", "1"]
    whole = people[1]
    assert not whole.has_depth and whole.joints[17].tolist() == [127.5, 105, 0, 0, 0, 1]
    assert people[0].joints[17, 5] == 0
    person = whole.person(H36M18)
    known = {name for name, k in zip(H36M18.joints, person.known, strict=True) if k}
    assert known == {n for n in COCO17.joints if n[1] == "_" and n[2:] not in ("eye", "ear")} | {
        "nose", "thorax", "neck", "pelvis",
    }  # fmt: skip
    assert not person.placed.any()


@pytest.mark.parametrize("swapped", [False, True])
def test_crowdposes_exchanged_sizes_are_seen_by_its_keypoints(tmp_path, swapped):
    path = coco_file(tmp_path, coco_person(1, 25))
    content = json.loads(path.read_text())
    keypoints = np.array([[300 + 20 * k, 50 + 10 * k, 2] for k in range(14)])
    content["annotations"][0].update(
        keypoints=keypoints.ravel().tolist(), num_keypoints=14, bbox=[300, 50, 260, 130]
    )
    for image in content["images"]:
        size = (427, 640) if swapped else (640, 427)
        image.update(width=size[0], height=size[1])
    path.write_text(json.dumps(content))
    (record,) = opened("crowdpose", path)
    assert (record.width, record.height) == (640, 427)
    assert record.person(MPI15).known[MPI15.root]  # from the hips


def test_mpii_is_read_in_its_own_order(tmp_path):
    keypoints = np.array([[100 + k, 200 + k, k % 3] for k in range(16)])
    path = coco_file(tmp_path, coco_person(1, 25, keypoints=keypoints.ravel().tolist()))
    (record,) = opened("mpii", path)
    assert record.joints[:, 5].tolist() == [float(k % 3 > 0) for k in range(16)]
    wrist = record.person(H36M18).pixels[H36M18.index("r_wrist")]
    assert wrist.tolist() == [110, 210]
    with pytest.raises(BadRecordError, match="keypoints are 48 numbers, expected 51"):
        opened("coco", path)[0]


@pytest.mark.parametrize("layout", get_args(Layout))
def test_a_missing_file_is_told_in_a_line(layout, tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        opened(layout, tmp_path / "missing.json")


def test_keypoints_of_a_form_come_first():
    for form in FORMS.values():
        assert len(form.skeleton) == form.labelled + len(form.derived)


def record_of(tmp_path, number=0, boxes="labelled"):
    return open_virtual_people([write_scenes(tmp_path / "virtual")], boxes)[number]


def test_virtual_people_one_by_one(tmp_path):
    record = record_of(tmp_path, 1)  # the first of the second scene
    expected = body(-0.4, 3.7)
    np.testing.assert_allclose(record.joints[:, :2], expected[:, :2], rtol=1e-12)
    np.testing.assert_allclose(record.joints[:, 2:5], expected[:, 4:7] / 100, rtol=1e-12)
    assert record.read().shape == (SIZE[1], SIZE[0], 3)
    assert record.camera.tolist() == [180, 180, 80, 60]
    tight = record_of(tmp_path, 1, "joints")
    low, high = expected[:, :2].min(0), expected[:, :2].max(0)
    np.testing.assert_allclose(tight.box, [*low, *(high - low + 1)])


def test_only_clear_virtual_people_on_request(tmp_path):
    """Those of whom enough isn't hidden, and whose box has a side that is long enough."""
    folder = write_scenes(tmp_path / "virtual")
    everybody = open_virtual_people([folder], "joints")
    longest = [max(record.box[2:]) for record in everybody]
    side = float(np.median(longest))
    big = open_virtual_people([folder], "joints", clear=Clear(side=side))
    assert [max(r.box[2:]) for r in big] == [long for long in longest if long >= side]
    assert 0 < len(big) < len(everybody)
    assert len(open_virtual_people([folder], "joints", clear=Clear(seen=15))) < len(everybody)


VIEWS = [
    View(), View(flip=True), View(scale=1.2, turn_deg=25), View(scale=0.8, turn_deg=-40, flip=True)
]  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_joints_move_with_the_picture(tmp_path, view):
    """A bright spot at a wrist is where the crop's wrist is, on the mirrored side if mirrored."""
    record = record_of(tmp_path)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    crop = person_crop(record, 128)
    person = record.person(MPI15)
    x, y = person.pixels[MPI15.index("l_knee")]
    cv2.circle(image, (round(8 * x), round(8 * y)), 16, (255, 255, 255), -1, shift=3)
    seen = cut(image, record, crop, view, np.random.default_rng(0))
    moved = viewed(person, matrix_of(crop, view, record.width), view, MPI15.flip)
    knee = MPI15.index("r_knee" if view.flip else "l_knee")
    rows, columns = np.nonzero(seen[..., 0] > 100)
    np.testing.assert_allclose([columns.mean(), rows.mean()], moved.pixels[knee], atol=0.6)
    sign = -1 if view.flip else 1
    np.testing.assert_allclose(
        moved.points[knee], person.points[MPI15.index("l_knee")] * (sign, 1, 1)
    )


def test_an_upright_crop_is_that_of_the_estimator(tmp_path):
    record = record_of(tmp_path)
    crop = person_crop(record, 256)
    image = record.read()
    seen = cut(image, record, crop, View(), np.random.default_rng(0))
    np.testing.assert_array_equal(seen[..., ::-1], crop.apply(image))


def test_chance_keeps_to_the_official_ranges():
    rng = np.random.default_rng(0)
    views = [View.draw(rng) for _ in range(4000)]
    scales, turns = (np.array([getattr(v, n) for v in views]) for n in ("scale", "turn_deg"))
    assert scales.min() == 0.75 and scales.max() == 1.25  # cut at one deviation
    assert np.abs(turns).max() == 60 and 0.36 < (turns == 0).mean() < 0.44
    assert 0.46 < np.mean([v.flip for v in views]) < 0.54
    assert 0.46 < np.mean([v.cover for v in views]) < 0.54
    tints = np.array([v.tint for v in views])
    assert tints.min() > 0.8 and tints.max() < 1.2
    assert not any(View.draw(rng, covered=0.0).cover for _ in range(50))
    assert not any(View.draw(rng, tilted=0.0).turn_deg for _ in range(50))
    assert all(View.draw(rng, tilted=1.0).turn_deg for _ in range(50))


def test_a_shifted_crop_shows_what_is_beside(tmp_path):
    record = record_of(tmp_path)
    crop = person_crop(record, 256)
    moved = Crop(crop.x + 0.1 * crop.side, crop.y - 0.2 * crop.side, crop.side, crop.size)
    view = View(shift=(0.1, -0.2))
    seen = cut(record.read(), record, crop, view, np.random.default_rng(0))
    np.testing.assert_array_equal(seen[..., ::-1], moved.apply(record.read()))
    at = np.array([[crop.x + 0.6 * crop.side, crop.y + 0.3 * crop.side]])  # the new middle
    matrix = matrix_of(crop, view, record.width)
    np.testing.assert_allclose(at @ matrix[:, :2].T + matrix[:, 2], [[128, 128]], atol=1e-6)


def test_shifts_are_drawn_within_their_limit_and_change_nothing_else():
    plain = View.draw(np.random.default_rng(3))
    views = [View.draw(np.random.default_rng(k), shift=0.1) for k in range(400)]
    shifts = np.array([view.shift for view in views])
    assert np.abs(shifts).max() <= 0.1 and shifts.std(axis=0).min() > 0.05
    assert replace(views[3], shift=(0.0, 0.0)) == plain


def test_covers_lie_in_the_picture_and_reach_into_the_box():
    image = np.zeros((100, 120, 3), np.uint8)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hidden = (covered(image, np.array([30.0, 20, 60, 50]), rng) != image).any(axis=-1)
        rows, columns = np.nonzero(hidden)
        if len(rows):
            # Those higher or wider than the box stick out of it, on both sides.
            assert columns.min() < 90 and columns.max() >= 30
            assert rows.min() < 70 and rows.max() >= 20
            assert hidden.sum() <= 0.7 * 60 * 50
    outside = covered(image, np.array([-500.0, -500, 60, 50]), np.random.default_rng(0))
    assert outside is image


def test_cells_of_the_cube(tmp_path):
    person = record_of(tmp_path).person(MPI15)
    crop = person_crop(record_of(tmp_path), 256)
    seen = viewed(person, matrix_of(crop, View(), SIZE[0]), View(), MPI15.flip)
    target, inside = cells(seen, MPI15.root, 256, 32, 1.0)
    np.testing.assert_allclose(target[:, :2], crop.to_crop(person.pixels) / 8)
    depth = person.points[:, 2] - person.points[MPI15.root, 2]
    np.testing.assert_allclose(target[:, 2], (depth + 1) / 2 * 32)
    assert inside.all()
    seen.points[0, 2] += 1.2  # a metre and more behind the pelvis
    seen.pixels[1] = (256, 10)
    assert np.flatnonzero(~cells(seen, MPI15.root, 256, 32, 1.0)[1]).tolist() == [0, 1]


def test_a_box_beside_the_picture_is_left_out_and_bad_numbers_are_named(tmp_path):
    path = muco_file(tmp_path, bbox=[5000, 10, 20, 20])
    assert len(opened("muco", path)) == 0
    for fields, message in (
        ({"keypoints_cam": [[0, 0, float("nan")]] * 21}, r"joint 0, X \(m\)|joint 0, Z \(m\), is"),
        ({"keypoints_cam": [[0, 0, 1e30]] * 21}, r"Z \(m\), is 1e\+27"),
        ({"keypoints_cam": [[0, 0, -5]] * 21}, r"in front of the camera"),
        ({"bbox": [0, float("nan"), 5, 5]}, "bbox is"),
    ):
        with pytest.raises(BadRecordError, match=message):
            opened("muco", muco_file(tmp_path, **fields))[0]
