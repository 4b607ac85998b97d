"""`smap-ros bag` on a bag that the project's recorder wrote, whole and cut off."""

from __future__ import annotations

import array
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bodies import Body
from smap_ros.cli import main
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import body_array
from smap_ros.offline.results import read_bodies
from smap_ros.skeletons import MPI15
from smap_ros.sources.bag import open_bag

IMAGES, GAP, RENAMED = 8, 3, 5  # a stamp is missing before the third; then somebody's id changes
SIZE = (1280, 720)


def people(scene, renamed: bool) -> tuple[Body, ...]:
    """The scene's people; the first of them under another identity where asked for."""
    return tuple(
        Body(
            joints.astype(np.float32),
            scene.camera.project(joints).astype(np.float32),
            np.ones(15, np.float32),
            0.9,
            id=9 if renamed and k == 0 else k,
        )
        for k, joints in enumerate(scene.joints)
    )


@pytest.fixture(scope="module")
def bag(observing, make_eye, scene, tmp_path_factory) -> Path:
    """Images, their calibration, and people of all but the last."""
    for _ in range(3):
        path = tmp_path_factory.mktemp("recorded") / "run_17"
        record(path, observing, make_eye, scene)
        with open_bag(path) as reader:
            counts = {connection.topic: connection.msgcount for connection in reader.connections}
        # Images are sent once, without acknowledgement: a busy machine may lose one.
        if counts["/image/compressed"] == IMAGES and counts["/bodies"] == IMAGES - 1:
            return path
    raise AssertionError(f"images or people were lost three times: {counts}")


def record(path: Path, observing, make_eye, scene) -> None:
    """Publish to the real recorder."""
    command = [sys.executable, "-m", "smap_ros.nodes.recorder", "--ros-args", "-p"]
    process = subprocess.Popen([*command, f"output:={path}"])
    with observing() as observer:
        eye = make_eye(observer, scene.camera)
        bodies = observer.publisher(BodyArray, "bodies", qos.RELIABLE)
        eye.ready()
        observer.wait(bodies.get_subscription_count, "the recorder's subscription")
        time.sleep(1.5)  # the recorder finds us later than we find it
        for k in range(IMAGES):
            if k == GAP:
                eye.header()
            eye.calibrate()
            picture = eye.image()
            # No image is like the one before.
            picture.data[:60000] = array.array("B", [20 * k] * 60000)
            eye.show(picture)
            if k < IMAGES - 1:
                found = [(body, False) for body in people(scene, k >= RENAMED)]
                bodies.publish(body_array(found, picture.header, SIZE, MPI15))
            time.sleep(0.15)  # the recorder compresses them
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def report_of(capsys, *words: object) -> tuple[dict, str]:
    capsys.readouterr()
    assert main(["bag", *map(str, words)]) == 0
    folder = Path(str(words[words.index("--report") + 1]))
    names = {"report.json", "report.md", "report.html", "plots.png"}
    assert {path.name for path in folder.iterdir()} == names
    return json.loads((folder / "report.json").read_text()), capsys.readouterr().err


def write_truth(path: Path, scene) -> Path:
    person = [
        {
            "id": k,
            "joints_3d": joints.tolist(),
            "joints_2d": scene.camera.project(joints).tolist(),
            "visibility": [2] * 15,
            "box": [0, 0, 100, 100],
        }
        for k, joints in enumerate(scene.joints)
    ]
    frames = [{"index": k, "stamp": k / 10, "people": person} for k in range(IMAGES)]
    content = {"camera": scene.camera.to_json(), "joint_set": "mpi15", "frames": frames}
    path.write_text(json.dumps(content))
    return path


def test_people_are_found_anew_and_compared_with_the_truth(
    bag, scene, scene_bundle, tmp_path, capsys
):
    truth = write_truth(tmp_path / "truth.json", scene)
    words = ("--bundle", scene_bundle, "--engine", "onnxruntime", "--threads", 1)
    numbers, errors = report_of(
        capsys, bag, *words, "--truth", truth, "--report", tmp_path / "report"
    )
    assert errors == ""
    assert (numbers["images"], numbers["frames"], numbers["people"]) == (8, 8, 24)
    assert {"network", "association", "total"} <= set(numbers["latency_ms"])
    assert [track["frames"] for track in numbers["tracks"]] == [8, 8, 8]
    topics = {topic["name"]: topic for topic in numbers["topics"]}
    image = topics["/image/compressed"]
    assert (image["messages"], image["rate"], image["gaps"], image["missing"]) == (8, 1, 1, 1)
    assert image["longest"] == 2
    truth = numbers["truth"]
    assert (truth["people"], truth["matched"], truth["false"], truth["switches"]) == (24, 24, 0, 0)
    assert truth["mpjpe_mm"] < 30


def test_recorded_people_are_reported_with_drops_and_changed_identities(
    bag, scene, tmp_path, capsys
):
    truth = write_truth(tmp_path / "truth.json", scene)
    numbers, errors = report_of(
        capsys, bag, "--recorded", "--truth", truth, "--report", tmp_path / "report"
    )
    assert "1 of 8 images have no people message: dropped" in errors
    assert (numbers["images"], numbers["frames"], numbers["people"]) == (8, 7, 21)
    assert [(track["id"], track["frames"]) for track in numbers["tracks"]] == [
        (0, 5), (1, 7), (2, 7), (9, 2),
    ]  # fmt: skip
    assert numbers["probable_switches"] == [[0, 9]]
    assert numbers["truth"]["switches"] == 1
    assert numbers["truth"]["mpjpe_mm"] == pytest.approx(0, abs=0.01)
    # The images' stamps are of 1970: they say nothing of how long anything took.
    assert "image to bodies" not in numbers["latency_ms"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "run_17" in page and "changes of identity" in page


def cut_off(bag: Path, path: Path, share: float, metadata: bool) -> bytes:
    """Copy a bag as if its recording had ended there; the content of its file."""
    shutil.copytree(bag, path)
    if not metadata:  # are written at the end
        (path / "metadata.yaml").unlink()
    (file,) = path.glob("*.mcap")
    content = file.read_bytes()[: int(share * file.stat().st_size)]
    file.write_bytes(content)
    return content


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_bag_that_was_cut_off_is_reported_as_far_as_it_goes(
    bag, scene, scene_bundle, tmp_path, capsys, share
):
    cut = tmp_path / "cut"
    before = cut_off(bag, cut, share, metadata=True)
    truth = write_truth(tmp_path / "truth.json", scene)
    words = ("--bundle", scene_bundle, "--engine", "onnxruntime", "--threads", 1)
    numbers, errors = report_of(
        capsys, cut, *words, "--truth", truth, "--report", tmp_path / "report"
    )
    assert "is damaged: the " in errors
    assert numbers["warnings"] == [errors.removeprefix("warning: ").strip()]
    assert 0 < numbers["frames"] < IMAGES
    assert numbers["truth"]["matched"] == 3 * numbers["frames"]
    (file,) = cut.glob("*.mcap")
    assert file.read_bytes() == before  # it is evidence
    assert "## Warnings" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(("metadata", "name"), [(True, ""), (False, ""), (False, "*.mcap")])
def test_people_of_a_bag_that_was_cut_off_are_estimated_as_far_as_it_goes(
    bag, scene_bundle, tmp_path, capsys, caplog, metadata, name
):
    """By its folder, with its metadata or without, or by its file."""
    cut, out = tmp_path / "cut", tmp_path / "out"
    before = cut_off(bag, cut, 0.6, metadata)
    (file,) = cut.glob("*.mcap")
    path = next(cut.glob(name)) if name else cut
    words = ("--bundle", scene_bundle, "--engine", "onnxruntime", "--threads", 1, "--out", out)
    code = main(["estimate", *map(str, (path, *words))])
    assert code == 0, capsys.readouterr().err
    (warning,) = (record.getMessage() for record in caplog.records)
    assert f"{path} is damaged: the " in warning and "messages before the damage" in warning
    frames = read_bodies(out / "bodies.json")
    assert 0 < len(frames) < IMAGES
    assert {len(frame) for frame in frames} == {3}
    written = json.loads((out / "bodies.json").read_text())["frames"]
    assert {frame["source"] for frame in written} == {f"{path.stem}:/image/compressed"}
    assert file.read_bytes() == before


def test_one_line_says_what_is_wrong(bag, tmp_path, capsys):
    (tmp_path / "none.mcap").write_bytes(b"hello")
    (tmp_path / "truth.json").write_text("{}")
    for words, message in (
        (["nowhere"], "there is no bag nowhere"),
        ([tmp_path / "none.mcap"], "can't be opened as a ROS bag"),
        ([bag, "--topic", "/nope"], "has no image topic '/nope'"),
        ([bag, "--recorded", "--topic", "bodies_raw"], "has no people on topic bodies_raw"),
        ([bag, "--truth", tmp_path / "truth.json"], "isn't the truth of a clip"),
    ):
        assert main(["bag", *map(str, words), "--report", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.strip().splitlines()) == 1
