"""`smap-train data check`: every mistake in a data set is found, counted and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.data.check import check
from smap_train.data.layouts.known import DataSet, configured, recognised
from smap_train.data.layouts.virtual import open_virtual
from smap_train.recipes.registry import recipe_config

from ..recipes.pairs import pair
from .bodies import body, entry, picture, scene, write_scenes, write_set, write_shard
from .test_people import h36m
from .test_smap_sources import coco_file, coco_person, muco_file
from .test_tracks import database


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def smap(folder: Path, *entries: dict) -> Path:
    path = folder / "smap.json"
    path.write_text(json.dumps({"root": list(entries)}))
    return path


def kinds(report) -> dict[str, int]:
    found: dict[str, int] = {}
    for group in report.groups.values():
        found[group.kind] = found.get(group.kind, 0) + group.count
    return found


def run(*words: object):
    return CliRunner().invoke(app, ["data", "check", *map(str, words)], standalone_mode=False)


def changed(column, factor=1.0, plus=0.0) -> dict:
    """An entry of one person with some columns changed."""
    numbers = body(0.2)
    numbers[:, column] = numbers[:, column] * factor + plus
    return entry(numbers[None])


def muco_people(folder: Path, scale: float = 1.0) -> Path:
    """MuCo's form with two people of human proportions, in millimetres times the scale."""
    path = muco_file(folder)
    content = json.loads(path.read_text())
    (first,) = content["annotations"]
    order = [1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10]
    people = []
    for number, x in enumerate((-0.5, 0.8)):
        points = np.zeros((21, 3))
        points[order] = body(x)[:, 4:7] * 10
        points[15:], points[:, 2] = points[14], points[:, 2] + (points[:, 2] == 0) * 4000
        pixels = points[:, :2] / points[:, 2:] * [1500, 1510] + [1024, 1020]
        low, high = pixels.min(0), pixels.max(0)
        people.append({
            **first, "id": number, "keypoints_cam": (scale * points).tolist(),
            "keypoints_img": pixels.tolist(), "bbox": [*low, *(high - low)],
        })  # fmt: skip
    content["annotations"] = people
    path.write_text(json.dumps(content))
    return path


def test_what_is_right_is_left_alone(tmp_path):
    path = write_set(tmp_path / "smap", 4)
    done = run(path, write_scenes(tmp_path / "shards"), "--decode")
    assert done.return_value == 0, done.output
    assert f"{path} (smap): 4 records, 4 pictures; nothing found" in done.output
    assert "2 data sets, 0 with findings" in done.output


@pytest.mark.parametrize(
    ("wrong", "found", "text"),
    [
        (changed([2, 4, 5, 6], 10), {"unit": 1, "whole": 2}, "millimetres? Then divide by 10"),
        (changed([2, 4, 5, 6], 0.01), {"unit": 1, "whole": 1}, "metres? Then multiply by 100"),
        (changed([4, 5, 6], 3), {"unit": 1, "whole": 1, "depth": 1}, "expected 9 to 65 centimet"),
        (changed(2, 10), {"depth": 1, "whole": 1}, "depth of neck, 3900, is 10 times its Z"),
        (changed([0, 1], plus=300), {"camera": 1}, "pixels beside its joints in the picture"),
        (changed([7, 8], 3), {"camera": 1}, "by the camera [540.0, 540.0, 80.0, 60.0]"),
        (changed(4, np.nan), {"record": 1}, "bodys[0][0][4], X of neck, is nan"),
        (changed(6, 1e30), {"record": 1}, "Z (camera) of neck, is "),
        (entry(np.zeros((1, 14, 11))), {"record": 1}, "has the shape (1, 14, 11)"),
    ],
)
def test_each_mistake_in_smaps_json_is_named(tmp_path, wrong, found, text):
    path = smap(tmp_path, wrong)
    report = check(DataSet("smap", path))
    assert kinds(report) == found
    findings = [line for group in report.groups.values() for line in group.findings]
    assert any(text in line and str(path) in line for line in findings), findings
    assert report.doubtful == 1
    assert run(path).return_value == 1


def test_a_few_wrong_people_do_not_condemn_a_file(tmp_path):
    good = entry(np.array([body()]))
    report = check(DataSet("smap", smap(tmp_path, good, good, changed([2, 4, 5, 6], 10))))
    assert kinds(report) == {"unit": 1}
    assert "record 2" in next(iter(report.groups.values())).findings[0]


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ([10.0, np.nan, 30, 40], "box of person 0 is [10.0, nan, 30, 40]; expected x, y, width"),
        ([10, 20, 30], "box of person 0 is [10, 20, 30]; expected x, y, width and height"),
        (None, "'box' is missing"),
    ],
)
def test_wrong_boxes_of_shards_are_named(tmp_path, box, text):
    labels = [scene(body()[None]) for _ in range(2)]
    labels[1]["people"][0]["box"] = box
    if box is None:
        del labels[1]["people"][0]["box"]
    shards = write_shard(tmp_path / "shards", [(one, picture(body()[None])) for one in labels])
    report = check(DataSet("shards", shards / "shard-00000.tar"))
    assert kinds(report) == {"record": 1} and report.doubtful == 1
    assert "shard-00000.tar, sample 000001: " in str(report.content())
    assert text in " ".join(line for group in report.groups.values() for line in group.findings)
    assert list(open_virtual([shards]).problems()) == []  # whole pictures need no boxes


def test_held_out_records_are_looked_at_as_well(tmp_path):
    report = check(DataSet("smap", smap(tmp_path, {**changed(4, np.nan), "isValidation": 1})))
    assert kinds(report) == {"record": 1}


def test_photos_without_depths_need_none(tmp_path):
    flat = body()
    flat[:, [2, 4, 5, 6]] = 0
    path = smap(tmp_path, entry(flat[None], dataset="COCO"))
    assert check(DataSet("smap", path)).found == 0


@pytest.mark.parametrize(("scale", "unit"), [(0.1, "centimetres"), (0.001, "metres")])
def test_units_of_other_layouts(tmp_path, scale, unit):
    path = muco_people(tmp_path)
    assert recognised(path) == "muco"
    assert check(DataSet("muco", path)).found == 0
    report = check(DataSet("muco", muco_people(tmp_path, scale)))
    assert kinds(report) == {"unit": 2, "whole": 1}
    assert f"millimetres: are they {unit}? Then multiply by" in str(report.content())


def test_pairs_in_millimetres(tmp_path):
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps({"3d_pairs": [pair(k) for k in range(3)]}))
    assert run(path).return_value == 0
    wrong = [pair(k) for k in range(3)]
    for one in wrong:
        one["gt_3d"] = (10 * np.array(one["gt_3d"])).tolist()
    path.write_text(json.dumps({"3d_pairs": wrong}))
    done = run(path)
    assert done.return_value == 1 and "are they millimetres? Then divide by 10" in done.output


def test_a_box_of_corners_is_seen(tmp_path):
    path = coco_file(tmp_path, coco_person(1, 9), coco_person(2, 25, bbox=[400, 300, 20, 20]))
    report = check(DataSet("coco", path))
    assert kinds(report) == {"box": 1}
    assert "annotation 2: none of its labelled joints" in str(report.content())


def test_missing_damaged_and_other_pictures(tmp_path):
    path = write_set(tmp_path, 6)
    images = tmp_path / "images"
    (images / "000000.png").unlink()
    (images / "000001.png").write_bytes(b"")
    (images / "000002.png").write_bytes((images / "000002.png").read_bytes()[:200])
    (images / "000003.png").write_bytes(b"GIF89a" * 20)
    content = json.loads(path.read_text())
    content["root"][4]["img_width"] = 99
    path.write_text(json.dumps(content))
    seen = check(DataSet("smap", path))
    assert kinds(seen) == {"picture": 2} and seen.pictures == 6
    report = check(DataSet("smap", path), decode=True)
    assert kinds(report) == {"picture": 5} and report.doubtful == 5
    findings = " ".join(line for group in report.groups.values() for line in group.findings)
    for number, expected in enumerate(
        ("missing", "cut off, or empty", "damaged: compressed image is truncated", "no picture")
    ):
        assert f"record {number}: images/00000{number}.png is {expected}" in findings
    assert "images/000004.png is 160x120, but stated as 99x120" in findings


def test_pictures_that_are_nowhere_near_are_a_note_unless_said_where(tmp_path):
    path = smap(tmp_path, entry(np.array([body()])))
    report = check(DataSet("smap", path))
    assert report.found == 0 and "say where they are with --images" in report.notes[0]
    done = run(path, "--images", tmp_path)
    assert done.return_value == 1 and "picture: " in done.output and "is missing" in done.output


def test_damaged_and_unknown_files_end_with_2(tmp_path):
    torn = smap(tmp_path, entry(np.array([body()])))
    torn.write_text(torn.read_text()[:-40])
    shards = write_scenes(tmp_path / "shards")
    tar = shards / "shard-00000.tar"
    (shards / "shard-00001.tar").write_bytes(tar.read_bytes()[:5000])
    text = tmp_path / "notes.txt"
    text.write_text("no data")
    done = run(torn, shards, text, tmp_path / "missing.json")
    assert done.return_value == 2
    for expected in (
        "smap.json is damaged after 0 records",
        "shard-00000.tar (shards): 6 records",
        "shard-00001.tar is ",
        "notes.txt is of no layout that is known",
        "missing.json is missing",
    ):
        assert expected in done.output
    assert isinstance(run(torn, "--layout", "other").exception, InputError)


def test_the_report_as_json(tmp_path):
    path, out = smap(tmp_path, *[changed([2, 4, 5, 6], 10)] * 5), tmp_path / "report.json"
    assert run(path, "--json", out, "--show", 0).return_value == 1
    (report,) = json.loads(out.read_text())["files"]
    assert report["layout"] == "smap" and report["records"] == report["doubtful"] == 5
    by_kind = {group["kind"]: group for group in report["groups"]}
    assert by_kind["unit"]["count"] == 5 and len(by_kind["unit"]["findings"]) == 5


def test_all_data_sets_of_a_configuration(tmp_path):
    write_set(tmp_path / "a", 2)
    write_scenes(tmp_path / "v")
    config = tmp_path / "run.yaml"
    config.write_text(
        f"recipe: smap\nout: {tmp_path / 'out'}\nsteps: 5\nvirtual: [{tmp_path / 'v'}]\n"
        f"data: [{{annotations: {tmp_path / 'a/annotations.json'}, images: {tmp_path / 'a'}}}]\n"
    )
    done = run(config)
    assert done.return_value == 0 and "2 data sets, 0 with findings" in done.output
    (tmp_path / "a/images/000001.png").unlink()
    done = run(config)
    assert done.return_value == 1 and "images/000001.png is missing" in done.output


@pytest.mark.parametrize("path", sorted(Path("training/configs").glob("*.yaml")), ids=str)
def test_every_shipped_configuration_names_data_sets_of_known_layouts(path):
    _, config = recipe_config(path)
    for data in configured(config):
        with pytest.raises(InputError, match=r"data/|missing|can't"):
            data.open()


def test_layouts_are_recognised(tmp_path):
    person = np.array([[100 + k, 200 + k, 2] for k in range(16)])
    made = {
        "h36m": h36m(_folder(tmp_path / "h36m")),
        "coco": coco_file(_folder(tmp_path / "coco"), coco_person(1, 9)),
        "mpii": coco_file(
            _folder(tmp_path / "mpii"), coco_person(1, 9, keypoints=person.ravel().tolist())
        ),
        "muco": muco_file(_folder(tmp_path / "muco")),
        "maed": database(_folder(tmp_path / "maed")),
        "smap": write_set(tmp_path / "smap", 1),
        "shards": write_scenes(tmp_path / "shards"),
    }
    assert {layout: recognised(path) for layout, path in made.items()} == {n: n for n in made}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
