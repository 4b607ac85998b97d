"""The output folder: one run at a time, and only what an earlier run wrote is removed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import InputError
from smap_ros.offline.bodies_file import BodiesFile
from smap_ros.offline.earlier import Names, written
from smap_ros.offline.folder import OutputFolder
from smap_ros.offline.results import ResultWriter, read_bodies

PICTURE = np.zeros((48, 64, 3), np.uint8)
SHOWN = ["contact_sheet.png", "poses_3d.png"]


@pytest.fixture
def frame(scene) -> BodyFrame:
    return BodyFrame((), scene.camera)


def film(frame, source, stamps=(0.0, 0.1, 0.2)):
    return source, True, [
        replace(frame, source=source, index=k, stamp=t) for k, t in enumerate(stamps)
    ]  # fmt: skip


def folder_film(frame, name, count=3):
    frames = [replace(frame, source=f"{k}.png", index=k, stamp=k / 10) for k in range(count)]
    return name, True, frames


def pictures(frame, *names):
    frames = [replace(frame, source=name, index=k) for k, name in enumerate(names)]
    return "folder", False, frames


CASES = {
    "a film": lambda f: [film(f, "clip.mp4")],
    "the same film twice": lambda f: [film(f, "clip.mp4"), film(f, "clip.mp4")],
    "films of equal names": lambda f: [film(f, n) for n in ("x.mp4", "c.mp4", "c.mkv", "c_2.mp4")],
    "films named by the time": lambda f: [film(f, f"12:{k}.mp4") for k in (15, 30, 45)],
    "bags": lambda f: [film(f, "bag:/a/image"), film(f, "bag:/b/image"), film(f, "bag:/c/image")],
    "a bag with a late image": lambda f: [film(f, "bag:/image", (0.0, 0.2, 0.1))],
    "pictures": lambda f: [pictures(f, "a.png", "b.png"), pictures(f, "a.jpg", "a_2.png")],
    "pictures, then films": lambda f: [pictures(f, "a.png"), film(f, "c.mp4"), film(f, "c.mp4")],
    "a film, then pictures": lambda f: [film(f, "c.mp4"), pictures(f, "a.png", "b.png")],
    "a folder that is a film": lambda f: [folder_film(f, "frames"), film(f, "c.mp4")],
    "a source without frames": lambda f: [film(f, "none.mp4", ()), film(f, "c.mp4")],
}


def write(out: Path, sources) -> None:
    with ResultWriter(out) as writer:
        for name, moving, frames in sources:
            writer.begin(name, moving=moving, rate=10)
            for frame in frames:
                writer.add(PICTURE, frame)


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_the_frames_tell_which_files_were_written(tmp_path, frame, case):
    write(tmp_path, CASES[case](frame))
    told = written(read_bodies(tmp_path / "bodies.json"))
    assert {*told, "bodies.json"} == files(tmp_path) and len(set(told)) == len(told)


@pytest.mark.parametrize("case", CASES)
def test_a_run_removes_only_what_an_earlier_one_wrote(tmp_path, frame, case):
    write(tmp_path, CASES[case](frame))
    # Names that the earlier run would have given to more images than it had.
    mine = {f"annotated_{k}.mp4" for k in (1, 2, 7, 2024)} | {"annotated/a_7.jpg", "notes.txt"}
    mine |= {"annotated_c_7.mp4", "annotated_clip_7.mp4", "annotated/clip.jpg", "annotated/0.jpg"}
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    write(tmp_path, [pictures(frame, "new.png")])
    assert files(tmp_path) == {*mine, "annotated/new.jpg", "bodies.json", *SHOWN}
    assert all((tmp_path / name).read_text() == "mine" for name in mine)


def test_annotated_films_are_called_as_theirs_and_those_of_bags_as_the_bag():
    names = Names()
    sources = ("12:30.mp4", "12:45.mp4", "bag:/a/image", "b:1.mcap:/a/image", "rtsp://10.0.0.7/x")
    assert [names.video(source, first=False) for source in sources] == [
        "annotated_12:30.mp4", "annotated_12:45.mp4", "annotated_bag.mp4", "annotated_b:1.mp4",
        "annotated_rtsp.mp4",
    ]  # fmt: skip


def test_a_film_of_one_picture_with_identities_left_no_picture(frame):
    nobody = np.zeros((15, 3), np.float32)
    body = Body(nobody, nobody[:, :2], nobody[:, 0], 0.5, id=3)
    alone = replace(frame, source="0.png", bodies=(body,))
    assert written([alone]) == [*SHOWN, "annotated.mp4"]


def test_nothing_outside_of_the_folder_is_removed(tmp_path, frame):
    out, elsewhere = tmp_path / "out", tmp_path / "photos"
    out.mkdir()
    elsewhere.mkdir()
    for name in ("holiday.jpg", "annotated.mp4"):
        (elsewhere / name).write_text("mine")
    (out / "annotated").symlink_to(elsewhere)
    names = ("holiday.png", "../photos/annotated.mp4", f"{elsewhere}/annotated.mp4")
    frames = [replace(frame, source=name) for name in names]
    content = {"frames": [one.to_json() for one in frames]}
    (out / "bodies.json").write_text(json.dumps(content))
    write(out, [film(frame, "clip.mp4")])
    assert {path.name for path in elsewhere.iterdir()} == {"holiday.jpg", "annotated.mp4"}


def test_names_that_no_file_can_have_refuse_no_run(tmp_path, frame):
    (tmp_path / "annotated").mkdir()
    long = replace(frame, source="b" * 300 + ".png")
    (tmp_path / "bodies.json").write_text(json.dumps({"frames": [long.to_json()]}))
    write(tmp_path, [film(frame, "clip.mp4")])
    assert len(read_bodies(tmp_path / "bodies.json")) == 3


def test_what_a_killed_run_left_stays_until_there_is_a_frame(tmp_path, frame):
    file = BodiesFile(tmp_path / "bodies.json")
    file.add(frame)
    before = (tmp_path / "bodies.json.part").read_bytes()
    with ResultWriter(tmp_path) as writer:
        writer.begin("clip.mp4", moving=True, rate=10)
    assert (tmp_path / "bodies.json.part").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bodies.json.part"}


def test_a_writer_that_is_closed_before_its_end_leaves_nothing_open(tmp_path):
    with ResultWriter(tmp_path) as writer:
        writer.begin("clip.mp4", moving=True, rate=10)
        writer.close()
    assert {path.name for path in tmp_path.iterdir()} == {"bodies.json"}
    ResultWriter(tmp_path).close()


def test_a_folder_is_one_runs_at_a_time(tmp_path, frame):
    out = tmp_path / "out"
    with ResultWriter(out) as writer:
        writer.begin("clip.mp4", moving=True, rate=10)
        writer.add(PICTURE, frame)
        with pytest.raises(InputError, match=r"another run writes to the output folder .*wait"):
            ResultWriter(out)
        writer.add(PICTURE, replace(frame, index=1, stamp=0.1))
    assert len(read_bodies(out / "bodies.json")) == 2
    assert files(out) == {"bodies.json", "annotated.mp4", *SHOWN}  # none of the lock
    ResultWriter(out).close()


def test_a_refused_input_leaves_the_folder_free(tmp_path, frame):
    write(tmp_path, [film(frame, "clip.mp4")])
    with pytest.raises(InputError, match="choose another --out"):
        OutputFolder(tmp_path, [tmp_path / "annotated.mp4"])
    OutputFolder(tmp_path).close()


MINE = (
    "annotated.mp4", "annotated_walk.mp4", "annotated_2.mp4", "contact_sheet.png", "poses_3d.png",
    "bodies.json", "annotated/a.jpg",
)  # fmt: skip


@pytest.mark.parametrize("name", [*MINE, "annotated"])
def test_an_input_that_the_run_would_write_over_is_refused(tmp_path, name):
    for file in MINE:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("mine")
    for given in (tmp_path / name, tmp_path / "annotated" / ".." / name):
        with pytest.raises(InputError, match=r"which this run (writes|replaces).* another --out"):
            OutputFolder(tmp_path, [given])
    OutputFolder(tmp_path / "other", [tmp_path / name]).close()
    assert all((tmp_path / file).read_text() == "mine" for file in MINE)


def test_a_folder_whose_own_pictures_would_be_written_over_is_refused(tmp_path):
    (tmp_path / "poses_3d.png").write_text("mine")
    with pytest.raises(InputError, match=r"has the place of poses_3d\.png"):
        OutputFolder(tmp_path, [tmp_path])
    (tmp_path / "poses_3d.png").rename(tmp_path / "3d.png")
    OutputFolder(tmp_path, [tmp_path]).close()


@pytest.mark.parametrize(
    "name",
    ["walk.mp4", "annotated.mkv", "annotatedly.mp4", "annotated/a.png", "annotated/b/a.jpg",
     "b/annotated.mp4", "b/annotated/a.jpg"],
)  # fmt: skip
def test_an_input_that_no_run_writes_over_is_taken(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    OutputFolder(tmp_path, [tmp_path / name]).close()


def test_what_links_of_the_folder_lead_to_is_not_written_over(tmp_path, frame):
    out, film_of_mine, photos = tmp_path / "out", tmp_path / "film.mp4", tmp_path / "photos"
    film_of_mine.write_text("mine")
    photos.mkdir()
    out.mkdir()
    for name in ("annotated.mp4", "annotated.mp4.part"):
        (out / name).symlink_to(film_of_mine)
    (out / "annotated").symlink_to(photos)
    for given in (out / "annotated.mp4", photos, photos / "a.jpg"):
        with pytest.raises(InputError, match="choose another --out"):
            OutputFolder(out, [given])
    write(out, [film(frame, "clip.mp4")])
    assert film_of_mine.read_text() == "mine" and (out / "annotated.mp4").stat().st_size > 100
    assert not (out / "annotated.mp4").is_symlink()


def test_a_run_that_was_killed_leaves_the_folder_free(tmp_path):
    script = (
        "import sys, time, pathlib; from smap_ros.offline.folder import OutputFolder;"
        "f = OutputFolder(pathlib.Path(sys.argv[1])); print('mine', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(InputError, match="at this moment"):
            OutputFolder(tmp_path)
        other.kill()
    OutputFolder(tmp_path).close()


def test_a_bodies_file_that_was_taken_away_is_told(tmp_path, frame):
    file = BodiesFile(tmp_path / "bodies.json")
    file.add(frame)
    (tmp_path / "bodies.json.part").unlink()
    with pytest.raises(InputError, match=r"can't name .*bodies\.json\.part bodies\.json: No such"):
        file.close()
