"""Photos with labels and with pseudo labels, as `smap-train data convert` writes them: checked."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.skeletons import MPI15
from smap_train.data.check import Report, check
from smap_train.data.convert.photos import LSPET_JOINTS
from smap_train.data.layouts.known import DataSet, configured, recognised
from smap_train.data.layouts.people import PeopleData
from smap_train.data.people import load_lspet, usable_photos
from smap_train.engine.sampling import BadRecordError
from smap_train.recipes.smap_lite import SmapLiteConfig

WIDTH, HEIGHT = 90, 120
# MediaPipe's landmarks of a standing person, metres about the hips; those that aren't named are 0.
BLAZE = {
    0: (0, -0.65, -0.1), 7: (0.07, -0.65, 0), 8: (-0.07, -0.65, 0), 11: (0.18, -0.45, 0),
    12: (-0.18, -0.45, 0), 13: (0.2, -0.15, 0), 14: (-0.2, -0.15, 0), 15: (0.2, 0.1, 0),
    16: (-0.2, 0.1, 0), 23: (0.1, 0, 0), 24: (-0.1, 0, 0), 25: (0.1, 0.4, 0), 26: (-0.1, 0.4, 0),
    27: (0.1, 0.8, 0), 28: (-0.1, 0.8, 0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def photo(number: int) -> bytes:
    image = np.full((HEIGHT, WIDTH, 3), 40 * number + 20, np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def labels(number: int) -> dict:
    joints = [[30 + 2 * k, 10 + 7 * k, 1] for k in range(14)]
    name = f"images/{number:05d}.jpg"
    return {"image": name, "width": WIDTH, "height": HEIGHT, "joints": joints}


def archive(path: Path, entries: list[dict], **damaged: bytes) -> Path:
    """LSPET's photos as `data convert lspet` writes them, some of them damaged."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for number, entry in enumerate(entries):
            file.writestr(entry["image"], damaged.get(f"photo{number}", photo(number)))
        content = {"joint_names": LSPET_JOINTS, "images": entries}
        file.writestr("annotations.json", json.dumps(content))
    return path


def pseudo(path: Path, names: list[str], scale: float = 1.0) -> Path:
    world = np.zeros((len(names), 33, 3), np.float32)
    for row, point in BLAZE.items():
        world[:, row] = point
    pixels = world[..., :2] * 60 + (45, 50)
    landmarks = np.concatenate([pixels, np.ones((len(names), 33, 1))], axis=2)
    np.savez(path, names=names, landmarks=landmarks.astype(np.float16), world_m=world * scale)
    return path


def texts(report: Report) -> str:
    return " | ".join(line for group in report.groups.values() for line in group.findings)


def kinds(report: Report) -> dict[str, int]:
    return {group.kind: group.count for group in report.groups.values()}


def test_what_is_right_is_left_alone_and_read_from_where_it_lies(tmp_path):
    path = archive(tmp_path / "lspet.zip", [labels(k) for k in range(3)])
    few = labels(3)
    few["joints"] = [[x, y, int(k < 4)] for k, (x, y, _) in enumerate(few["joints"])]
    with_few = archive(tmp_path / "more.zip", [labels(0), few])
    assert recognised(path) == "lspet"
    report = check(DataSet("lspet", path), decode=True)
    assert (report.records, report.pictures, report.found) == (3, 3, 0), texts(report)
    people = PeopleData(layout="lspet", annotations=path, images=Path()).open()
    assert [int(person.read()[60, 45, 0]) for person in people] == pytest.approx(
        [20, 60, 100], abs=2
    )
    person = people[1].person(MPI15)
    assert person.known.sum() == 15 and not person.placed.any()
    loaded = load_lspet(path, pseudo(tmp_path / "p.npz", []))
    np.testing.assert_allclose(person.pixels, loaded[1].joints_2d)
    assert check(DataSet("lspet", with_few)).records == 1  # the other has too few joints
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "folder")
    assert recognised(tmp_path / "folder") == "lspet"
    report = check(DataSet("lspet", tmp_path / "folder"), decode=True)
    assert (report.records, report.pictures, report.found) == (3, 3, 0), texts(report)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda e: e["joints"].pop(), "record", "joints has the shape (13, 3)"),
        (lambda e: e["joints"][0].__setitem__(0, 1e30), "record", "x (px), is 1e+30"),
        (lambda e: e["joints"][2].__setitem__(0, float("nan")), "record", "joint 2 is labelled"),
        (lambda e: e.__setitem__("width", 91), "record", "width and height are (91, 120)"),
        (lambda e: e.pop("joints"), "record", "joints"),
        (lambda e: e.__setitem__("joints", "many"), "record", "is malformed"),
    ],
)
def test_each_mistake_in_the_labels_is_named(tmp_path, change, kind, text):
    wrong = labels(1)
    change(wrong)
    report = check(DataSet("lspet", archive(tmp_path / "a.zip", [labels(0), wrong])))
    assert kinds(report) == {kind: 1} and report.records == 2
    assert text in texts(report) and "annotations.json, image 1" in texts(report)


def test_damaged_photos_and_archives(tmp_path):
    path = archive(tmp_path / "a.zip", [labels(0), labels(1)], photo1=photo(1)[:300])
    report = check(DataSet("lspet", path), decode=True)
    assert report.doubtful == 1 and "image 1" in texts(report) and "truncated" in texts(report)
    path.write_bytes(path.read_bytes()[:800])
    report = check(DataSet("lspet", path))
    assert report.unreadable and "can't open" in texts(report)
    compressed = tmp_path / "c.zip"
    whole = archive(tmp_path / "b.zip", [labels(0)])
    with zipfile.ZipFile(whole) as file, zipfile.ZipFile(compressed, "w", 8) as out:
        for name in file.namelist():
            out.writestr(name, file.read(name))
    assert "the archive has it compressed" in texts(check(DataSet("lspet", compressed)))


def test_pseudo_labels_of_street_photos(tmp_path):
    names = ["photos/0001.jpg", "photos/0002.jpg"]
    with zipfile.ZipFile(tmp_path / "ccp.zip", "w") as file:
        for number, name in enumerate(names):
            file.writestr(name, photo(number))
    path = pseudo(tmp_path / "ccp_pseudo3d.npz", names)
    assert recognised(path) == "pseudo"
    report = check(DataSet("pseudo", path), decode=True)
    assert (report.records, report.pictures, report.found) == (2, 2, 0), texts(report)
    config = SmapLiteConfig(
        out=tmp_path, steps=1, street={"archive": tmp_path / "ccp.zip", "pseudo": path}
    )
    assert [data.layout for data in configured(config)] == ["pseudo"]
    wrong = check(DataSet("pseudo", pseudo(path, names, 1000)))
    assert kinds(wrong) == {"record": 2} and "expected metres about the hips" in texts(wrong)
    wrong = check(DataSet("pseudo", pseudo(path, names, 0.1)))
    assert kinds(wrong) == {"unit": 2, "whole": 1}
    lost = check(DataSet("pseudo", pseudo(path, [*names, "photos/0003.jpg"])))
    assert kinds(lost) == {"record": 1} and "row 2 (photos/0003.jpg)" in texts(lost)
    (tmp_path / "ccp.zip").unlink()
    assert "no zip archive beside" in texts(check(DataSet("pseudo", path)))
    path.write_bytes(b"PK nothing")
    assert "can't be read" in texts(check(DataSet("pseudo", path)))


def test_training_names_a_photo_that_it_cannot_use_or_leaves_it_out(tmp_path):
    path = archive(tmp_path / "a.zip", [labels(0), labels(1)], photo1=photo(1)[:300])
    people = load_lspet(path, pseudo(tmp_path / "p.npz", []))
    with pytest.raises(BadRecordError, match=r"a.zip, images/00001.jpg: its photo is damaged"):
        usable_photos(people, "stop")
    assert usable_photos(people, "skip", tmp_path / "skipped.jsonl") == people[:1]
    (line,) = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["record"] == 1


def test_training_learns_from_no_photo_of_another_size_than_its_labels(tmp_path):
    """As measuring does: joints would be beside people, or out of the picture."""
    whole = photo(1)
    height, width = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    halved = cv2.resize(
        cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR), (width // 2, height // 2)
    )
    path = archive(
        tmp_path / "a.zip", [labels(0), labels(1)], photo1=cv2.imencode(".jpg", halved)[1].tobytes()
    )
    people = load_lspet(path, pseudo(tmp_path / "p.npz", []))
    reason = rf"its photo is {width // 2}x{height // 2} px, but its labels are for {width}x{height}"
    with pytest.raises(BadRecordError, match=reason):
        usable_photos(people, "stop")
    assert usable_photos(people, "skip", tmp_path / "skipped.jsonl") == people[:1]
