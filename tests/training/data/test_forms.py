"""Data sets of any layout as SMAP's unified JSON and as shards, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_ros.evaluation.common.shards import read_shards
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.data.check import check
from smap_train.data.layouts.known import LAYOUTS, SUMMARIES, DataSet
from smap_train.data.layouts.people import PeopleData
from smap_train.data.layouts.smap_json import open_smap_json
from smap_train.data.layouts.virtual import open_virtual

from . import published
from .bodies import write_scenes, write_set
from .published import HD, person
from .test_bad_records import edit, human36m, muco, mupots, nan, smap
from .test_smap_sources import coco_file, coco_person


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*words: object):
    done = CliRunner().invoke(app, ["data", *map(str, words)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_panoptic_as_smap_trains_on_it(tmp_path):
    folder, out = published.panoptic(tmp_path / "studio"), tmp_path / "cmup.json"
    assert run("convert", "smap", folder, out, "--every", 2) == f"{out}: 2 pictures\n"
    records = open_smap_json(out, folder)
    record = records[1]
    assert record.dataset == "CMUP" and record.read().shape == (1080, 1920, 3)
    assert str(record.image.relative_to(folder)) == ("170000_game1/hdImgs/00_16/00_16_00000102.jpg")
    seen = record.bodies[..., 3]
    for joint, name in enumerate(MPI15.joints):  # noses are no head tops, a wrist was lost
        assert (seen[:, joint] == (0 if name in ("head_top", "l_wrist") else 2)).all(), name
    told = seen[1] > 0
    np.testing.assert_allclose(
        record.bodies[1, told, 4:7], 100 * person(MPI15, 0.7)[told], atol=1e-6
    )
    assert (record.bodies[1, told, 2] == record.bodies[1, told, 6]).all()
    assert (record.bodies[..., 7:] == [HD.fx, HD.fy, HD.cx, HD.cy]).all()
    assert check(DataSet("smap", out, folder)).found == 0  # though its lens bends a little


@pytest.mark.parametrize(
    ("make", "dataset", "people"),
    [(muco, "MUCO", [2]), (mupots, "MUCO", [2]), (human36m, "H36M", [1, 1, 1])],
)
def test_other_3d_sets(make, dataset, people, tmp_path):
    data, out = make(tmp_path, lambda numbers: numbers), tmp_path / "out.json"
    run("convert", "smap", data.path, out)
    records = open_smap_json(out, data.images)
    assert [len(record.bodies) for record in records] == people
    assert {record.dataset for record in records} == {dataset}
    assert list(records.problems()) == []


def test_people_of_a_3d_set_whose_depths_are_not_told_have_none(tmp_path):
    """3DCrowdNet's file of 3DPW has poses of SMPL, and joints in the picture alone."""
    out = tmp_path / "out.json"
    run("convert", "smap", published.threedpw_json(tmp_path), out)
    (record,) = open_smap_json(out, tmp_path)
    assert record.dataset == "COCO" and not record.bodies[..., [2, 4, 5, 6]].any()


def test_photos_have_no_depths(tmp_path):
    out = tmp_path / "out.json"
    run("convert", "smap", coco_file(tmp_path, coco_person(1, 9)), out, "--validation")
    (record,) = open_smap_json(out, tmp_path, validation=True)
    assert record.dataset == "COCO" and not record.bodies[..., [2, 4, 5, 6]].any()
    assert record.bodies[0, 0, 7:].tolist() == [640, 640, 320, 213.5]


def test_shards_become_smaps_json_and_shards_again(tmp_path):
    shards, out, back = write_scenes(tmp_path / "a", 5), tmp_path / "o/v.json", tmp_path / "back"
    assert run("convert", "smap", shards, out) == f"{out}: 5 pictures\n"
    before, records = open_virtual([shards]), open_smap_json(out, out.parent)
    for one, other in zip(before, records, strict=True):
        np.testing.assert_allclose(other.bodies, one.bodies)
        np.testing.assert_array_equal(other.read(), one.read())
    said = run("convert", "shards", out, back, "--images", out.parent)
    assert said == f"{back}: 5 pictures in 1 shards\n"
    again = open_virtual([back])
    for one, other in zip(before, again, strict=True):
        np.testing.assert_allclose(other.bodies, one.bodies, atol=1e-9)
        assert other.read().shape == one.read().shape
    assert len(list(read_shards(back))) == 5
    with pytest.raises(InputError, match="has shards already"):
        run("convert", "shards", out, back, "--images", out.parent)


def test_every_nth_scene_of_shards_is_marked_as_held_out(tmp_path):
    shards, out = write_scenes(tmp_path / "a", 20), tmp_path / "held.json"
    said = run("convert", "smap", shards, out, "--every", 5, "--validation")
    assert said == f"{out}: 4 pictures\n"
    entries = json.loads(out.read_text())["root"]
    assert [entry["isValidation"] for entry in entries] == [1] * 4
    before = open_virtual([shards])
    for one, other in zip([before[k] for k in (0, 5, 10, 15)], entries, strict=True):
        np.testing.assert_allclose(other["bodys"], one.bodies)
    assert len(list((tmp_path / "held_images").iterdir())) == 4


def test_held_out_records_come_into_no_shards_for_training(tmp_path):
    path = write_set(tmp_path, 5)
    content = json.loads(path.read_text())
    for k in (1, 4):
        content["root"][k]["isValidation"] = 1
    path.write_text(json.dumps(content))
    taught, held = tmp_path / "taught", tmp_path / "held"
    said = run("convert", "shards", path, taught, "--images", tmp_path)
    assert "3 pictures in 1 shards; 2 held-out records left out, convert them with --held" in said
    said = run("convert", "shards", path, held, "--images", tmp_path, "--held-out")
    assert "2 pictures in 1 shards; 3 records for training left out" in said
    for folder, numbers in ((taught, "023"), (held, "14")):
        sources = [sample.labels["source"] for sample in read_shards(folder)]
        assert [source[-1] for source in sources] == list(numbers)
    content["root"] = [{**entry, "isValidation": 1} for entry in content["root"]]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no record of isValidation 0, and 5 others.*--held-out"):
        run("convert", "shards", path, tmp_path / "none", "--images", tmp_path)


def test_boxes_of_shards_are_about_the_joints_that_are_known_within_the_picture(tmp_path):
    path = write_set(tmp_path, 2)
    content = json.loads(path.read_text())
    near, beside = content["root"][1]["bodys"]
    for joint in (3, 4, 5):  # so near to the camera that they are seen nowhere
        near[joint][:4] = [0, 0, 20, 0]
        near[joint][6] = 20
    beside[5][0], beside[5][3] = 190, 0  # 30 px beside the picture
    path.write_text(json.dumps(content))
    run("convert", "shards", path, tmp_path / "out", "--images", tmp_path)
    boxes = [p["box"] for s in read_shards(tmp_path / "out") for p in s.labels["people"]][1:]
    pixels = np.delete(np.array(near), (3, 4, 5), axis=0)[:, :2]
    np.testing.assert_allclose(boxes[0], [*pixels.min(axis=0), *np.ptp(pixels, axis=0)])
    low = np.array(beside)[:, :2].min(axis=0)
    assert boxes[1][:2] == pytest.approx(low) and boxes[1][0] + boxes[1][2] == 159


def test_bad_records_stop_a_conversion_or_are_left_out(tmp_path):
    folder = published.panoptic(tmp_path / "studio")
    edit(sorted(folder.rglob("body3DScene_*.json"))[1], "bodies", 1, "joints19", wrong=nan)
    out = tmp_path / "out.json"
    with pytest.raises(InputError, match=r"body3DScene_00000101.json"):
        run("convert", "smap", folder, out)
    assert not out.exists()
    said = run("convert", "smap", folder, out, "--skip-bad")
    assert said == f"{out}: 2 pictures, 1 bad records left out\n"
    data = smap(tmp_path, nan)
    with pytest.raises(InputError, match="record 1: bodys"):
        run("convert", "shards", data.path, tmp_path / "s", "--images", tmp_path)
    run("convert", "shards", data.path, tmp_path / "t", "--images", tmp_path, "--skip-bad")
    assert len(open_virtual([tmp_path / "t"])) == 3


def test_joints_without_a_position_make_no_shards(tmp_path):
    path = write_set(tmp_path, 1)
    content = json.loads(path.read_text())
    content["root"][0]["bodys"][0][4][4:7] = [0, 0, 0]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"bodys\[0\]\[4\] has no position in space"):
        run("convert", "shards", path, tmp_path / "out", "--images", tmp_path)
    assert not list((tmp_path / "out").glob("*.tar"))


def test_what_can_not_become_smaps_json_is_refused(tmp_path):
    with pytest.raises(InputError, match="is of layout smap; expected one of shards, 3dpw, coco"):
        run("convert", "smap", write_set(tmp_path, 1), tmp_path / "out.json")


def test_every_layout_is_listed():
    assert SUMMARIES.keys() == LAYOUTS.keys()
    listed = run("layouts")
    assert all(name in listed and SUMMARIES[name] in listed for name in LAYOUTS)


def test_every_nth_picture_is_whole(tmp_path):
    people = [coco_person(k, 9 + 16 * (k % 2)) for k in range(6)]
    path = coco_file(tmp_path, *people)
    data = PeopleData(layout="coco", annotations=path, images=tmp_path, every=2)
    (picture,) = [list(people) for people in data.open_pictures()]
    assert len(picture) == 3 and len(data.open()) == 3


def test_paths_of_pictures_stay_relative(tmp_path):
    out = tmp_path / "out.json"
    run("convert", "smap", muco(tmp_path, lambda n: n).path, out)
    (entry,) = json.loads(out.read_text())["root"]
    assert entry["img_paths"] == "augmented_set/9/000001.jpg"
    assert not Path(entry["img_paths"]).is_absolute()
