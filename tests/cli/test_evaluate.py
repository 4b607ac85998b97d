"""`smap-ros evaluate` as a process, with a real network that sees known people."""

import io
import json
import shlex
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.cli import tables
from smap_ros.skeletons import MPI15

FOV = 80  # of the scene's camera
BRIGHT, GREY = 250, 128
LSPET = [joint for joint in MPI15.joints if joint != "pelvis"]


def labels_of(scene) -> dict:
    people = []
    for k, joints in enumerate(scene.joints):
        pixels = scene.camera.project(joints)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        people.append(
            {
                "id": k,
                "joints_3d": joints.tolist(),
                "joints_2d": pixels.tolist(),
                "visibility": [2] * 15,
                "box": [*low, *(high - low)],
            }
        )
    return {"camera": scene.camera.to_json(), "people": people}


@pytest.fixture
def jpegs(scene) -> dict[str, bytes]:
    """In the first picture the network sees everybody, in the second nobody."""
    return {
        name: cv2.imencode(".jpg", scene.image(value))[1].tobytes()
        for name, value in (("000000", BRIGHT), ("000001", GREY))
    }


@pytest.fixture
def shards(tmp_path, scene, jpegs) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    labels = json.dumps(labels_of(scene)).encode()
    with tarfile.open(folder / "shard-00000.tar", "w") as shard:
        for name, data in jpegs.items():
            for kind, content in (("jpg", data), ("json", labels)):
                member = tarfile.TarInfo(f"{name}.{kind}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return folder


@pytest.fixture
def photos(tmp_path, scene, jpegs) -> Path:
    """The nearest person labelled in both pictures."""
    pixels = scene.camera.project(scene.joints[0])
    rows = [[*pixels[MPI15.index(joint)], 1] for joint in LSPET]
    entries = [
        {"image": f"images/{name}.jpg", "width": 1280, "height": 720, "joints": rows}
        for name in jpegs
    ]
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.json", json.dumps({"joint_names": LSPET, "images": entries}))
        for name, data in jpegs.items():
            archive.writestr(f"images/{name}.jpg", data)
    return path


def test_a_bundle_is_measured_on_shards(smap_ros, bundle, shards, tmp_path):
    words = ("--protocol", "virtual", bundle, "shards", "--engine", "onnxruntime", "--threads", 1)
    done = smap_ros("evaluate", *words, "--report", "out")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    summary = data["summary"]
    assert (summary["people"], summary["found"], summary["ghosts"]) == (6, 3, 0)
    assert (summary["recall_percent"], summary["precision_percent"]) == (50, 100)
    assert summary["mpjpe_mm"] < 30
    assert summary["root_depth_percent"] < 1
    assert summary["pck250_percent"] == 50
    assert data["command"].startswith(f"smap-ros evaluate --protocol virtual {bundle} shards")
    assert "onnxruntime" in data["predictions"]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "report.json", "plots.png", "gallery.png",
    }  # fmt: skip
    for words in (
        "50.0 / 100.0 %",
        "by distance",
        "by joints hidden",
        "by field of view",
        "l_knee",
    ):
        assert words in done.stdout


def test_its_bodies_json_gives_the_same_numbers(smap_ros, bundle, shards, jpegs, tmp_path, caplog):
    (tmp_path / "pictures").mkdir()
    for name, data in jpegs.items():
        (tmp_path / "pictures" / f"{name}.jpg").write_bytes(data)
    engine = ("--engine", "onnxruntime", "--threads", 1)
    words = ("--fov", FOV, "--bundle", bundle, *engine)
    assert smap_ros("estimate", "pictures", *words, "--out", "found").returncode == 0
    for prediction, out in ((bundle, "a"), ("found/bodies.json", "b")):
        done = smap_ros("evaluate", "-p", "virtual", prediction, "shards", *engine, "-r", out)
        assert done.returncode == 0, done.stderr
        assert "focal length" not in caplog.text
    a, b = (json.loads((tmp_path / k / "report.json").read_text())["summary"] for k in "ab")
    assert a == pytest.approx(b, rel=1e-3, abs=1e-3)


def test_another_camera_is_warned_of(smap_ros, python, bundle, shards, jpegs, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "000000.jpg").write_bytes(jpegs["000000"])
    words = ("--fov", 40, "--bundle", bundle, "--out", "found")
    assert smap_ros("estimate", "pictures", *words).returncode == 0
    done = python("-m", "smap_ros", "evaluate", "-p", "virtual", "found/bodies.json", "shards")
    assert done.returncode == 0
    assert "warning: 1 of 1 pictures were estimated with another focal length" in done.stderr
    assert "1, 1 not in the predictions" in done.stdout


def test_a_clip_is_measured_frame_by_frame(smap_ros, bundle, clip, scene, tmp_path):
    labels = labels_of(scene)
    frames = [{"index": k, "stamp": k / 10, "people": labels["people"]} for k in range(8)]
    truth = {"camera": labels["camera"], "joint_set": "mpi15", "frames": frames}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    done = smap_ros("evaluate", "-p", "virtual", bundle, "truth.json", "--report", "out")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "report.json").read_text())["summary"]
    # The fourth of the eight frames shows nobody.
    assert (summary["people"], summary["found"], summary["ghosts"]) == (24, 21, 0)


def test_photos_are_measured_by_their_joints(smap_ros, bundle, photos, tmp_path, caplog):
    done = smap_ros("evaluate", "-p", "pck2d", bundle, "photos.zip", "--report", "out")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["pck_percent"] == pytest.approx(50)
    assert (data["images"], data["nobody_found"]) == (2, 1)
    assert len(data["by_joint"]) == 14
    assert "PCK at 0.2 of the torso, 14 joints" in done.stdout
    assert not caplog.records  # the guessed field of view is nobody's fault
    gallery = cv2.imread(str(tmp_path / "out" / "gallery.png"))
    assert np.ptp(gallery.astype(int), axis=2).max() > 60


@pytest.mark.parametrize(("last", "pck"), [(1, 0.0), (2, 50.0), (0, 50.0)])
def test_the_held_out_tail_is_chosen(smap_ros, bundle, photos, tmp_path, last, pck):
    words = ("-p", "pck2d", bundle, "photos.zip", "--last", last, "--report", "out")
    assert smap_ros("evaluate", *words).returncode == 0
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["pck_percent"] == pytest.approx(pck)
    assert f"--last {last}" in data["command"]


@pytest.fixture
def studio(tmp_path, scene, jpegs) -> Path:
    """The two pictures in two sequences, labelled in SMAP's form of CMU Panoptic."""
    people = np.zeros((len(scene.joints), 15, 11))
    people[..., :2] = scene.camera.project(scene.joints)
    people[..., 2], people[..., 3] = scene.joints[..., 2] * 100, 2
    people[..., 4:7] = scene.joints * 100
    camera = scene.camera
    people[..., 7:] = camera.fx, camera.fy, camera.cx, camera.cy
    entries = []
    for sequence, data in zip(("pizza", "mafia"), jpegs.values(), strict=True):
        (tmp_path / "studio" / sequence).mkdir(parents=True)
        (tmp_path / "studio" / sequence / "00_16.jpg").write_bytes(data)
        size = {"img_width": camera.width, "img_height": camera.height}
        entries.append({"img_paths": f"{sequence}/00_16.jpg", **size, "bodys": people.tolist()})
    path = tmp_path / "studio" / "test.json"
    path.write_text(json.dumps({"root": entries}))
    return path


def test_a_studio_is_measured_by_a_bundle_and_by_its_results_alike(
    smap_ros, bundle, studio, tmp_path
):
    engine = ("--engine", "onnxruntime", "--threads", 1)
    for sequence in ("pizza", "mafia"):
        words = ("--fov", FOV, "--bundle", bundle, *engine, "--out", f"found/{sequence}")
        assert smap_ros("estimate", f"studio/{sequence}", *words).returncode == 0
    for found, out in ((bundle, "a"), ("found", "b")):
        done = smap_ros("evaluate", "-p", "panoptic", found, studio, *engine, "-r", out)
        assert done.returncode == 0, done.stderr
        assert "necks within 150 mm" in done.stdout
    a, b = (json.loads((tmp_path / k / "report.json").read_text()) for k in "ab")
    assert (a["people"], a["people_found"]) == (6, 3)
    assert a["mpjpe_relative_mm"] < 30
    assert a["by_joint"]["MPJPE mm"] == pytest.approx(b["by_joint"]["MPJPE mm"], rel=1e-3, abs=0.01)
    assert a["command"].startswith("smap-ros evaluate --protocol panoptic")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"report.json", "plots.png"}


def test_without_a_report_only_tables_are_shown(smap_ros, bundle, shards, tmp_path):
    before = set(tmp_path.iterdir())
    done = smap_ros("evaluate", "-p", "virtual", bundle, "shards")
    assert done.returncode == 0
    assert "recall / precision" in done.stdout
    assert set(tmp_path.iterdir()) == before


def test_the_command_in_a_report_makes_it_again(smap_ros, bundle, shards, tmp_path):
    words = ("--protocol", "virtual", bundle, "shards", "--engine", "onnxruntime", "--threads", 1)
    assert smap_ros("evaluate", *words, "--report", "out").returncode == 0
    first = (tmp_path / "out" / "report.json").read_text()
    (tmp_path / "out" / "report.json").unlink()
    program, *again = shlex.split(json.loads(first)["command"])
    done = smap_ros(*again)
    assert program == "smap-ros" and done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.json").read_text() == first


def test_the_report_is_there_when_nobody_reads_the_tables(
    smap_ros, bundle, shards, tmp_path, monkeypatch
):
    class Closed:
        def print(self, *_: object) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(tables, "console", Closed)
    smap_ros("evaluate", "-p", "virtual", bundle, "shards", "--report", "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.json", "plots.png", "gallery.png"}


def found_json(path: Path, scene, names: list[str]) -> str:
    """People beside those of the scene, found in these pictures."""
    joints = (scene.joints + [0.5, 0, 0]).astype(np.float32)
    pixels = scene.camera.project(joints).astype(np.float32)
    ones = np.ones(15, np.float32)
    people = tuple(Body(*rows, ones, 0.9) for rows in zip(joints, pixels, strict=True))
    frames = [
        BodyFrame(people, scene.camera, k / 10, source=name, index=k).to_json()
        for k, name in enumerate(names)
    ]
    path.write_text(json.dumps({"frames": frames}))
    return path.name


@pytest.mark.parametrize("protocol", ["pck2d", "virtual"])
def test_people_found_are_measured_where_the_pictures_are_not_at_hand(
    smap_ros, scene, photos, tmp_path, caplog, protocol
):
    if protocol == "pck2d":
        with zipfile.ZipFile(photos) as files:
            files.extract("annotations.json", tmp_path / "truth")
        truth, missing = "truth", "can't read images/000000.jpg"
        found = found_json(tmp_path / "b.json", scene, ["000000.jpg", "000001.jpg"])
    else:
        labels = labels_of(scene)
        frames = [{"index": 0, "stamp": 0.0, "people": labels["people"]}]
        data = {"camera": labels["camera"], "joint_set": "mpi15", "frames": frames}
        (tmp_path / "truth.json").write_text(json.dumps(data))
        truth, missing = "truth.json", "the pictures clip.mp4 are missing"
        found = found_json(tmp_path / "b.json", scene, ["clip.mp4"])
    shown = smap_ros("evaluate", "-p", protocol, found, truth)
    assert shown.returncode == 0 and "by joint" in shown.stdout, shown.stderr
    assert not caplog.records
    done = smap_ros("evaluate", "-p", protocol, found, truth, "--report", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown.stdout)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("gallery.png, the worst cases") and missing in told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "plots.png"}


def test_a_truncated_shard_is_refused_in_one_line(smap_ros, bundle, shards):
    path = shards / "shard-00000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    done = smap_ros("evaluate", "-p", "virtual", bundle, "shards")
    assert done.returncode == 2
    assert "shard-00000.tar is damaged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["BUNDLE", "shards"], "Missing option '--protocol'"),
        (["-p", "pck3d", "BUNDLE", "shards"], "Invalid value for '--protocol'"),
        (["-p", "mupots", "BUNDLE", "shards"], "shards isn't MuPoTS-3D"),
        (["-p", "panoptic", "BUNDLE", "shards"], "no labelled images of CMU Panoptic"),
        (["-p", "h36m-p1", "BUNDLE", "shards"], "can't read shards/Human36M_subject11_data.json"),
        (["-p", "3dpw", "BUNDLE", "shards"], "has no sequences of 3DPW"),
        (["-p", "virtual", "BUNDLE", "shards", "--body-model", "."], "is for --protocol 3dpw"),
        (["-p", "virtual", "BUNDLE"], "Missing argument 'GT'"),
        (["-p", "virtual", "BUNDLE", "nothing"], "ground truth nothing doesn't exist"),
        (["-p", "virtual", "BUNDLE", "."], "has no shards"),
        (["-p", "virtual", "no", "shards"], "no bundle 'no'"),
        (["-p", "virtual", "no.json", "shards"], "can't read no.json"),
        (["-p", "virtual", "BUNDLE", "shards", "--last", "5"], "--last is for --protocol pck2d"),
        (["-p", "virtual", "BUNDLE", "shards", "-r", "photos.zip"], "can't write to the report"),
        (["-p", "pck2d", "BUNDLE", "shards"], "can't read annotations.json"),
        (["-p", "pck2d", "BUNDLE", "nothing.zip"], "can't open nothing.zip"),
    ],
)
def test_what_the_user_must_change_is_said_in_one_line(
    smap_ros, bundle, shards, photos, words, message
):
    done = smap_ros("evaluate", *(str(bundle) if word == "BUNDLE" else word for word in words))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
