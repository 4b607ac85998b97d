"""`smap-ros evaluate --protocol mot`, on clips that show known people."""

import json
from pathlib import Path

import av
import cv2
import pytest

from smap_ros.paths import config_directory

ENGINE = ("--engine", "onnxruntime", "--threads", 1)


def write(folder: Path, lines: list[str], labels: str = "person\n") -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text("\n".join(lines))
    if labels:
        (folder / "gt" / "labels.txt").write_text(labels)
    return folder


@pytest.fixture
def labelled(tmp_path, clip, scene) -> Path:
    """The clip labelled in CVAT: three people in all of its eight frames."""
    lines = []
    for number in range(1, 9):
        for k, joints in enumerate(scene.joints):
            pixels = scene.camera.project(joints)
            box = [*pixels.min(axis=0), *pixels.max(axis=0) - pixels.min(axis=0)]
            lines.append(",".join(map(str, (number, k + 1, *box, 1, 1, 1.0))))
    folder = write(tmp_path / "kitchen", lines)
    clip.rename(folder / "clip.mp4")
    return folder


def numbers(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_a_bundle_and_its_tracked_bodies_json_are_measured(smap_ros, bundle, labelled, tmp_path):
    words = ("evaluate", "--protocol", "mot")
    done = smap_ros(*words, bundle, "kitchen", *ENGINE, "--report", "a")
    assert done.returncode == 0, done.stderr
    for text in ("recall / precision", "87.5 / 100.0 %", "by height in the picture", "over time"):
        assert text in done.stdout
    a = numbers(tmp_path / "a")
    # The fourth frame shows nobody.
    assert (a["pictures"], a["people"], a["found"], a["ghosts"]) == (8, 24, 21, 0)
    assert a["command"].startswith(f"smap-ros evaluate --protocol mot {bundle} kitchen")
    assert a["over_time"]["switches"] == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"report.json", "plots.png"}

    settings = ("--bundle", bundle, *ENGINE, "--fov", 60, "--out", "found")
    made = smap_ros("estimate", "kitchen/clip.mp4", *settings)
    assert made.returncode == 0, made.stderr
    done = smap_ros(*words, "found/bodies.json", "kitchen", "--report", "b")
    assert done.returncode == 0, done.stderr
    b = numbers(tmp_path / "b")
    assert b["over_time"]["identities_by"] == "the predictions' own identities"
    assert b["over_time"]["switches"] == 0
    for counts in (b, b["over_time"]):  # those whom it waited for aren't in the file
        assert (counts["people"], counts["found"], counts["ghosts"]) == (24, 21, 0)


def test_pictures_of_several_sequences_by_two_processes(smap_ros, bundle, labelled, tmp_path):
    with av.open(str(labelled / "clip.mp4")) as film:
        frames = [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]
    lines = (labelled / "gt" / "gt.txt").read_text().splitlines()
    for name, chosen in (("a", (0, 1)), ("b", (3,))):
        folder = write(tmp_path / "data" / name, lines[: 3 * len(chosen)], labels="")
        (folder / "img1").mkdir()
        for number, k in enumerate(chosen, start=1):
            cv2.imwrite(str(folder / "img1" / f"{number:06d}.png"), frames[k])
        words = ("--bundle", bundle, *ENGINE, "--fov", 60, "--out", f"found/{name}")
        assert smap_ros("estimate", folder / "img1", *words).returncode == 0
    for predictions, out in ((bundle, "one"), (bundle, "two"), ("found", "files")):
        words = ("--jobs", 2) if out == "two" else ()
        done = smap_ros("evaluate", "-p", "mot", predictions, "data", *words, "--report", out)
        assert done.returncode == 0, done.stderr
        got = numbers(tmp_path / out)
        found = {name: (n["people"], n["found"]) for name, n in got["by_sequence"].items()}
        assert found == {"a": (6, 6), "b": (3, 0)}
        assert (got["ghosts"], got["pictures"], got["pictures_skipped"]) == (0, 3, 0)


def test_the_shipped_bundle_finds_people_of_the_demo(smap_ros, tmp_path):
    demo = config_directory() / "demo"
    truth = json.loads((demo / "truth.json").read_text())["frames"]
    chosen, lines = (0, 30, 60), []
    folder = tmp_path / "demo"
    (folder / "img1").mkdir(parents=True)
    with av.open(str(demo / "clip.mp4")) as film:
        for k, frame in enumerate(film.decode(video=0)):
            if k in chosen:
                number = chosen.index(k) + 1
                image = frame.to_ndarray(format="bgr24")
                cv2.imwrite(str(folder / "img1" / f"{number:06d}.png"), image)
                for person in truth[k]["people"]:
                    row = (number, person["id"], *person["box"], 1, -1, -1, -1)
                    lines.append(",".join(map(str, row)))
    write(folder, lines, labels="")
    done = smap_ros("evaluate", "-p", "mot", "smap_lite", "demo", *ENGINE, "--report", "out")
    assert done.returncode == 0, done.stderr
    got = numbers(tmp_path / "out")
    assert (got["pictures"], got["people"]) == (3, 9)
    assert got["found"] >= 7 and got["ghosts"] <= 1  # one stands behind another


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda k: (k / "gt" / "gt.txt").write_text("1,2,3\n"), "gt.txt, line 1 (1,2,3): it has 3"),
        (lambda k: (k / "gt" / "gt.txt").write_text("9,1,2,3,4,5,1,1,1"), "there are 8 pictures"),
        (lambda k: (k / "gt" / "gt.txt").write_bytes(b"\xff\xfe1"), "can't read"),
        (lambda k: (k / "gt" / "gt.txt").unlink(), "has no sequences in the MOTChallenge format"),
        (lambda k: (k / "gt" / "labels.txt").write_text("cat\n"), "has the classes cat"),
        (lambda k: (k / "clip.mp4").unlink(), "kitchen has no pictures"),
        (lambda k: (k / "clip.mp4").write_bytes(b"no film"), "clip.mp4"),
        (lambda k: (k / "more.mkv").write_bytes(b""), "has 2 videos (clip.mp4, more.mkv)"),
        (lambda k: (k / "seqinfo.ini").write_text("[Sequence]\nseqLength=9"), "says seqLength 9"),
        (lambda k: (k / "seqinfo.ini").write_text("a\nb"), "seqinfo.ini is malformed"),
        (lambda k: (k / "seqinfo.ini").write_text("[Sequence]\nimWidth=640"), "says 640x720 px"),
    ],
)
def test_what_the_user_must_change_is_said_in_one_line(smap_ros, bundle, labelled, damage, message):
    damage(labelled)
    done = smap_ros("evaluate", "-p", "mot", bundle, "kitchen")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
