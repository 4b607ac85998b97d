"""Stopped runs: what was done can be used, one line says so, and the exit status is right."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from smap_ros.viz.video import VideoWriter
from tests.mjpeg_server import NetworkCamera

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ("--engine", "onnxruntime", "--threads", 1)


@pytest.fixture
def film(tmp_path, scene) -> Path:
    """Far more frames than any of these tests waits for."""
    path = tmp_path / "film.mp4"
    writer = VideoWriter(path, rate=10)
    for k in range(400):
        writer.add(scene.image(250), k / 10)
    writer.close()
    return path


@pytest.fixture
def start(tmp_path):
    """Start ``smap-ros WORDS...``; ended by the test or after it."""
    running = []

    def start(*words: object, **options: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "smap_ros", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def frames_in(path: Path) -> int:
    """Frames of a bodies.json, whole at any time; 0 before it is there."""
    return len(json.loads(path.read_text())["frames"]) if path.exists() else 0


def wait_for(condition, process, seconds=60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


def shown(video: Path) -> int:
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_estimate_leaves_whole_files(start, bundle, film, tmp_path, number):
    out = tmp_path / "out"
    process = start("estimate", film, "--fov", 80, "--bundle", bundle, *RUNTIME, "--out", out)
    wait_for(lambda: frames_in(out / "bodies.json.part") >= 5, process)
    process.send_signal(number)
    process.send_signal(number)  # as `timeout` does: the process and its group
    printed, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    count = frames_in(out / "bodies.json")
    assert count >= 5
    assert shown(out / "annotated.mp4") == count
    assert {path.name for path in out.iterdir()} == {
        "annotated.mp4", "bodies.json", "contact_sheet.png", "poses_3d.png",
    }  # fmt: skip
    (line,) = complaint.splitlines()
    assert line.startswith("smap-ros: ") and f"the {count} images so far are in {out}" in line
    assert f"of {count}" in printed


@pytest.mark.parametrize("limited", [True, False])
def test_a_camera_that_vanishes_is_told_at_once_and_given_up_at_the_limit(
    start, bundle, tmp_path, limited
):
    camera, out = NetworkCamera((320, 240)), tmp_path / "out"
    words = ("--fov", 80, "--bundle", bundle, *RUNTIME, "--out", out)
    limit = ("--camera-timeout", 3) if limited else ()
    process = start("estimate", f"{camera.url}/stream", *words, *limit)
    wait_for(lambda: frames_in(out / "bodies.json.part") >= 5, process)
    camera.vanish()
    lines = iter(process.stderr.readline, "")
    assert "is lost after" in next(line for line in lines if line.startswith("warning: "))
    if limited:
        last = [line for line in lines if line.startswith("smap-ros: ")]
        assert process.wait(60) == 2
        assert len(last) == 1 and "gave no image for 3 s" in last[0]
        assert f"images before are in {out}" in last[0]
    else:
        assert any("opening it again every 2 s" in line for line in lines)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0  # how a live camera is expected to be ended
    count = frames_in(out / "bodies.json")
    assert count >= 5 and shown(out / "annotated.mp4") == count
    assert not list(out.glob("*.part"))


def test_what_nohup_ignores_stays_ignored(start, bundle, clip, tmp_path):
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    out = tmp_path / "out"
    words = ("--fov", 80, "--bundle", bundle, *RUNTIME, "--out", out)
    process = start("estimate", clip, *words, preexec_fn=ignore)
    wait_for((out / "bodies.json.part").exists, process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert frames_in(out / "bodies.json") == 8


def test_a_killed_estimate_leaves_a_document_and_a_video(start, bundle, film, tmp_path):
    out = tmp_path / "out"
    process = start("estimate", film, "--fov", 80, "--bundle", bundle, *RUNTIME, "--out", out)
    wait_for(lambda: frames_in(out / "bodies.json.part") >= 30, process)
    process.kill()
    process.communicate()
    assert frames_in(out / "bodies.json.part") >= 30
    assert shown(out / "annotated.mp4") >= 20


@pytest.mark.parametrize("room", [30_000, 200_000, 500_000])
def test_a_full_disk_ends_a_run_with_what_fits(start, bundle, film, tmp_path, room):
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    out = tmp_path / "out"
    words = ("--fov", 80, "--bundle", bundle, *RUNTIME, "--out", out)
    process = start("estimate", film, *words, preexec_fn=limit)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 2, complaint
    assert len(complaint.splitlines()) == 1, complaint
    line = complaint.strip()
    assert "can't write" in line and "File too large" in line
    count = frames_in(out / "bodies.json")
    assert f"the {count} images before are in {out}" in line
    assert count > 0
    if room > 100_000:
        assert 0 < shown(out / "annotated.mp4") <= count


def test_a_reader_that_goes_away_costs_no_results(start, bundle, clip, tmp_path):
    out = tmp_path / "out"
    process = start("estimate", clip, "--fov", 80, "--bundle", bundle, *RUNTIME, "--out", out)
    process.stdout.close()
    complaint = process.stderr.read()
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    assert complaint.splitlines() == ["smap-ros: the reader of the output went away"]
    assert frames_in(out / "bodies.json") == 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_one_line(python):
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-m', 'smap_ros', \
'bench', '--engine', 'onnxruntime', '--seconds', '0.1'], stdout=open('/dev/full', 'w')))"
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stderr == "smap-ros: can't write the output: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_at_the_start_cost_nothing(bundle, clip, tmp_path, closed):
    words = map(str, ("--fov", 80, "--bundle", bundle, *RUNTIME, "--out", "out"))
    command = f"{sys.executable} -m smap_ros estimate {clip} {' '.join(words)} {closed}"
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 0
    assert frames_in(tmp_path / "out" / "bodies.json") == 8


def test_a_stopped_bench_shows_what_it_measured(start, bundle, tmp_path):
    words = ("--bundle", bundle, "--seconds", 3, "--threads", 1, "--out", tmp_path / "b.json")
    process = start("bench", *words, "--engine", "onnxruntime")
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "onnxruntime" in maps.read_text(), process)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert len(complaint.splitlines()) == 1


def test_frames_are_whole_in_the_file_after_each(tmp_path, scene):
    from smap_ros.bodies import BodyFrame
    from smap_ros.offline.bodies_file import BodiesFile

    file = BodiesFile(tmp_path / "bodies.json")
    for k in range(3):
        assert frames_in(tmp_path / "bodies.json.part") == k
        file.add(BodyFrame((), scene.camera, stamp=float(k), source="a", index=k))
    assert not (tmp_path / "bodies.json").exists()
    file.close()
    assert frames_in(tmp_path / "bodies.json") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["bodies.json"]


def descendants(process: int) -> list[int]:
    children = map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
    return [one for child in children for one in (child, *descendants(child))]


def reports_on_a_bag(process: int) -> bool:
    return b"\0bag\0" in Path(f"/proc/{process}/cmdline").read_bytes()


def test_several_bags_that_are_stopped_end_with_their_processes(start, tmp_path):
    """The first two are under way; the third is not begun."""
    bags = []
    for name in "abc":
        bags.append(tmp_path / name)
        shutil.copytree(ROOT / "tests" / "robot_bag" / "bag", bags[-1])
    words = ("bag", *bags, "--bundle", "smap_lite", *RUNTIME, "--jobs", 2, "--report", "out")
    process = start(*words)
    wait_for(lambda: sum(map(reports_on_a_bag, descendants(process.pid))) == 2, process)
    under_way = descendants(process.pid)
    reports = [one for one in under_way if reports_on_a_bag(one)]
    wait_for(lambda: all((tmp_path / "out" / name).exists() for name in "ab"), process)
    time.sleep(1.5)  # the model is loaded, or the first images are looked at
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; 1 bags were not begun, 2 not read to their end" in told
    assert len(told.strip().splitlines()) == 1, told
    assert not any(Path(f"/proc/{child}").exists() for child in reports)
    for _ in range(100):  # Python's own helper ends when it hears of it
        if not any(Path(f"/proc/{child}").exists() for child in under_way):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"of {under_way} some are left")
    for name in "ab":  # who was under way wrote what there was
        assert (tmp_path / "out" / name / "report.json").exists()
