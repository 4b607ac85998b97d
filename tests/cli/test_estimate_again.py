"""`smap-ros estimate` into a folder that was used before, is in use, or has an odd name."""

import os
import subprocess
import sys

import pytest
from rich.console import Console

from smap_ros.cli import tables
from smap_ros.offline.folder import OutputFolder
from smap_ros.offline.results import read_bodies
from smap_ros.pictures import write_picture
from smap_ros.sources import open_source

WORDS = ("--fov", 80, "--engine", "onnxruntime", "--threads", 1)


def contents(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_a_run_that_comes_to_nothing_leaves_earlier_results(smap_ros, bundle, clip, tmp_path):
    words = (*WORDS, "--bundle", bundle, "--out", "out")
    assert smap_ros("estimate", clip, *words).returncode == 0
    before = contents(tmp_path / "out")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.png").write_bytes(b"nothing")
    for inputs in (["bad.png"], ["bad"], ["bad.png", "bad"]):
        done = smap_ros("estimate", *inputs, *words)
        assert done.returncode == 2 and contents(tmp_path / "out") == before
    assert smap_ros("estimate", "bad.png", *words[:-1], "new").returncode == 2
    assert not (tmp_path / "new" / "bodies.json").exists()


def test_a_second_run_into_a_folder_is_refused(smap_ros, bundle, picture, tmp_path):
    words = (*WORDS, "--bundle", bundle, "--out", "out")
    first = OutputFolder(tmp_path / "out")
    done = smap_ros("estimate", picture, *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "another run writes to the output folder out at this moment" in line
    first.close()
    assert smap_ros("estimate", picture, *words).returncode == 0


@pytest.mark.parametrize("out", ["in", "elsewhere"])
def test_a_folder_is_read_again_without_our_own_pictures(
    smap_ros, bundle, scene, tmp_path, caplog, out
):
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / "in" / name, scene.image(250))
    words = (*WORDS, "--bundle", bundle, "--out")
    for folder in ("in", out):
        done = smap_ros("estimate", "in", *words, folder)
        assert done.returncode == 0, done.stderr
    frames = read_bodies(tmp_path / out / "bodies.json")
    assert [frame.source for frame in frames] == ["a.png", "b.png"]
    assert "skipped" not in caplog.text and (tmp_path / "in" / "contact_sheet.png").exists()


def test_what_the_folder_does_not_take_is_told_once(smap_ros, bundle, scene, tmp_path, caplog):
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, scene.image(250))
    (tmp_path / "out" / "bodies.json.part").mkdir(parents=True)
    words = (*WORDS, "--bundle", bundle, "--out", "out")
    done = smap_ros("estimate", "a.png", "b.png", *words)
    assert done.returncode == 2 and "can't write to the output folder out" in done.stderr
    assert "skipped" not in caplog.text


def test_names_with_brackets_are_no_markup(smap_ros, bundle, clip, tmp_path):
    name = "[red] [x].mp4"
    clip.rename(tmp_path / name)
    words = (*WORDS, "--bundle", bundle, "--out", "o[/y] :cat:")
    done = smap_ros("estimate", name, name, *words)
    assert done.returncode == 0, done.stderr
    assert "in o[/y] :cat:" in done.stdout and "annotated_[red] [x].mp4" in done.stdout


def test_progress_and_facts_show_names_as_they_are(capsys):
    screen = Console(width=100)
    for bar in (tables.progress(), tables.waiting()):
        bar.add_task("clip[/y].mp4", total=2)
        screen.print(bar.get_renderable())
    screen.print(tables.facts("facts", [("camera", "/dev/[/y]")]))
    printed = capsys.readouterr().out
    assert printed.count("clip[/y].mp4") == 2 and "/dev/[/y]" in printed


def test_names_that_are_not_utf8_are_worked_on(bundle, clip, tmp_path):
    odd = clip.rename(tmp_path / os.fsdecode(b"clip\xff.mp4"))
    words = [str(w) for w in (*WORDS, "--bundle", bundle)] + ["--out", os.fsdecode(b"o\xff")]
    done = subprocess.run(
        [sys.executable, "-m", "smap_ros", "estimate", odd, *words], cwd=tmp_path,
        capture_output=True, check=False, timeout=90,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / os.fsdecode(b"o\xff")
    assert {frame.source for frame in read_bodies(out / "bodies.json")} == {"clip\xff.mp4"}
    assert len(list(open_source(out / "annotated.mp4"))) == 8
