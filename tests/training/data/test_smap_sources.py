"""COCO and MuCo-3DHP in their official schema become SMAP's bodies by its rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.data.layouts.coco import KEYPOINTS, read_coco
from smap_train.data.layouts.muco import read_muco
from smap_train.data.layouts.smap_json import open_smap_json, write_smap_json


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def coco_person(number: int, image: int, **fields) -> dict:
    keypoints = np.array([[100 + 5 * k, 50 + 10 * k, 2] for k in range(17)])
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
        "keypoints": keypoints.ravel().tolist(), "bbox": [90, 40, 100, 180], "area": 9000.0,
        "segmentation": [[90, 40, 190, 40, 190, 220]], **fields,
    }  # fmt: skip


def coco_file(folder: Path, *people: dict) -> Path:
    images = [
        {"id": k, "file_name": f"{k:012d}.jpg", "width": 640, "height": 427, "license": 1,
         "coco_url": "", "flickr_url": "", "date_captured": "2013-11-14 17:02:52"}
        for k in (9, 25)
    ]  # fmt: skip
    person = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(KEYPOINTS),
              "skeleton": [[16, 14]]}  # fmt: skip
    path = folder / "person_keypoints_train2017.json"
    path.write_text(json.dumps(
        {"info": {}, "licenses": [], "images": images, "annotations": people,
         "categories": [person]}
    ))  # fmt: skip
    return path


def test_coco_becomes_bodies_by_the_rules(tmp_path):
    one = coco_person(1, 25)
    one["keypoints"][3 * 11 + 2] = 1  # left hip hidden
    path = coco_file(
        tmp_path, one, coco_person(2, 25, iscrowd=1), coco_person(3, 25, num_keypoints=2),
        coco_person(4, 9, num_keypoints=2),
    )  # fmt: skip
    (record,) = read_coco(path, "train2017")
    assert record.image == Path("train2017/000000000025.jpg")
    assert (record.width, record.height, record.dataset) == (640, 427, "COCO")
    (body,) = record.bodies
    for joints, keypoints in ((range(3, 9), range(5, 16, 2)), (range(9, 15), range(6, 17, 2))):
        for joint, k in zip(joints, keypoints, strict=True):
            expected = (100 + 5 * k, 50 + 10 * k, 1 if k == 11 else 2)
            np.testing.assert_array_equal(body[joint, [0, 1, 3]], expected)
    hips, shoulders = np.array([157.5, 165.0]), np.array([127.5, 105.0])
    np.testing.assert_allclose(body[MPI15.root, [0, 1, 3]], [*hips, 1])
    np.testing.assert_allclose(body[0, :2], shoulders + 0.185 * (shoulders - hips))
    assert body[0, 3] == 1 and body[1, 3] == 0
    assert not body[:, [2, 4, 5, 6]].any()
    np.testing.assert_array_equal(body[:, 7:], np.tile([640, 640, 320, 213.5], (15, 1)))


def test_unlabelled_hips_leave_pelvis_and_neck_unlabelled(tmp_path):
    person = coco_person(1, 9)
    person["keypoints"][3 * 11 : 3 * 13] = [0] * 6
    (record,) = read_coco(coco_file(tmp_path, person), "train2017")
    assert record.bodies[0, [0, MPI15.root], 3].tolist() == [0, 0]
    assert record.bodies[0, 3, 3] == 2


def test_what_is_no_coco_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"image 9 is malformed.*annotation 1 are 48 numbers"):
        list(read_coco(coco_file(tmp_path, coco_person(1, 9, keypoints=[0] * 48)), ""))
    path = tmp_path / "other.json"
    for text in ("[1]", "{", '{"annotations": [{"id": 3}]}'):
        path.write_text(text)
        with pytest.raises(InputError, match="is no annotation file of COCO"):
            list(read_coco(path, ""))
    with pytest.raises(InputError, match=r"can't read .*missing.json: No such file"):
        list(read_coco(tmp_path / "missing.json", ""))


def muco_file(folder: Path, **fields) -> Path:
    """Two pictures; joint k of the first's person at (10 k, 20 k) pixels, 3,000 + k mm away."""
    image = {"width": 2048, "height": 2048, "f": [1500.0, 1510.0], "c": [1024.0, 1020.0],
             "R": [1, 0, 0, 0, 1, 0, 0, 0, 1], "T": [0, 0, 0]}  # fmt: skip
    k = np.arange(21.0)
    person = {
        "id": 0, "image_id": 1, "bbox": [0, 0, 200, 400],
        "keypoints_img": np.stack([10 * k - 15, 20 * k], 1).tolist(),
        "keypoints_cam": np.stack([k, -k, 3000 + k], 1).tolist(),
        "keypoints_vis": [int(j % 2 == 0) for j in range(21)], **fields,
    }  # fmt: skip
    path = folder / "MuCo-3DHP.json"
    path.write_text(json.dumps({
        "images": [{"id": j, "file_name": f"augmented_set/9/{j:06d}.jpg", **image}
                   for j in range(2)],
        "annotations": [person],
    }))  # fmt: skip
    return path


def test_muco_becomes_bodies_in_centimetres(tmp_path):
    (record,) = read_muco(muco_file(tmp_path))
    assert record.image == Path("augmented_set/9/000001.jpg")
    (body,) = record.bodies
    order = np.array([1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10])
    np.testing.assert_array_equal(body[:, :2], np.stack([10 * order - 15, 20 * order], 1))
    np.testing.assert_allclose(body[:, 2], 300 + order / 10)
    np.testing.assert_allclose(
        body[:, 4:7], np.stack([order, -order, 3000.0 + order], 1) / 10, atol=1e-12
    )
    outside = 10 * order < 15
    np.testing.assert_array_equal(body[:, 3], np.where(outside, 0, 1 + (order % 2 == 0)))
    np.testing.assert_array_equal(body[:, 7:], np.tile([1500, 1510, 1024, 1020], (15, 1)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints_cam": [[0, 0, 1]] * 17}, r"annotation 0 is malformed.*\(17, 3\).*21 x 2"),
        ({"keypoints_cam": [[0, 0, float("nan")]] * 21}, r"image 1: .*Z of neck, is nan"),
        ({"keypoints_img": None}, "annotation 0 is malformed"),
        ({"image_id": 7}, "people of image 7, which it doesn't have"),
    ],
)
def test_what_is_wrong_in_muco_is_named(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        write_smap_json(tmp_path / "out.json", read_muco(muco_file(tmp_path, **fields)))
    assert not (tmp_path / "out.json").exists()


def test_a_damaged_muco_is_named(tmp_path):
    path = muco_file(tmp_path)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(
        InputError, match=r"MuCo-3DHP.json is damaged after 0 records of annotations"
    ):
        list(read_muco(path))


def test_the_commands_write_what_the_recipe_reads(tmp_path):
    out = tmp_path / "out.json"
    coco = coco_file(tmp_path, coco_person(1, 9), coco_person(2, 25))
    for words in (["smap-coco", str(coco)], ["smap-muco", str(muco_file(tmp_path))]):
        done = CliRunner().invoke(app, ["data", "convert", *words, str(out)])
        assert done.exit_code == 0, done.output
        records = open_smap_json(out, tmp_path)
        assert len(records) == (2 if words[0] == "smap-coco" else 1)
        assert list(records.problems()) == []
    held_out = ["data", "convert", "smap-coco", str(coco), str(out), "--validation"]
    assert CliRunner().invoke(app, held_out).exit_code == 0
    assert len(open_smap_json(out, tmp_path)) == 0
    assert len(open_smap_json(out, tmp_path, validation=True)) == 2


def test_a_source_without_people_writes_nothing(tmp_path):
    out = tmp_path / "out.json"
    done = CliRunner().invoke(
        app, ["data", "convert", "smap-coco", str(coco_file(tmp_path)), str(out)]
    )
    assert isinstance(done.exception, InputError)
    assert not out.exists()
