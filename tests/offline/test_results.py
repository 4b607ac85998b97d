"""The files of a run: whole or not there, and readable by the contract."""

import json
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import InputError
from smap_ros.offline.results import ResultWriter, read_bodies
from smap_ros.skeletons import MPI15


@pytest.fixture
def frame(scene) -> BodyFrame:
    """Two people, one of them without a wrist."""
    bodies = []
    for k in range(2):
        points = scene.joints[k].astype(np.float32)
        pixels = scene.camera.project(points).astype(np.float32)
        bodies.append(Body(points, pixels, np.full(15, 0.8, np.float32), 0.7, k))
    wrist = MPI15.index("l_wrist")
    for array, value in ((bodies[1].joints_3d, np.nan), (bodies[1].joints_2d, np.nan)):
        array[wrist] = value
    bodies[1].scores[wrist] = 0
    return BodyFrame(tuple(bodies), scene.camera, 0.5, source="a.png", timings_ms={"network": 4.0})


def test_what_was_written_is_read_back(tmp_path, frame, scene):
    with ResultWriter(tmp_path / "deep" / "out") as writer:
        writer.begin("a.png", moving=False, rate=None)
        writer.add(scene.image(99), frame)
        writer.add(scene.image(99), replace(frame, bodies=(), index=1))
    first, second = read_bodies(tmp_path / "deep" / "out" / "bodies.json")
    assert (len(first), len(second), second.index) == (2, 0, 1)
    for ours, theirs in zip(frame, first, strict=True):
        np.testing.assert_allclose(theirs.joints_3d, ours.joints_3d, atol=1e-5)
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-5)
    assert first.camera.fx == pytest.approx(scene.camera.fx)


def test_missing_joints_are_null_in_the_file(tmp_path, frame, scene):
    with ResultWriter(tmp_path) as writer:
        writer.begin("a.png", moving=False, rate=None)
        writer.add(scene.image(99), frame)
    text = (tmp_path / "bodies.json").read_text()
    assert "NaN" not in text
    row = json.loads(text)["frames"][0]["bodies"][1]["joints_3d"][MPI15.index("l_wrist")]
    assert row == [None, None, None, 0.0]


def test_an_error_in_between_leaves_what_was_done(tmp_path, frame, scene):
    def fail_after_one_frame() -> None:
        with ResultWriter(tmp_path) as writer:
            writer.begin("clip.mp4", moving=True, rate=10)
            writer.add(scene.image(99), frame)
            assert not (tmp_path / "bodies.json").exists()
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        fail_after_one_frame()
    assert len(read_bodies(tmp_path / "bodies.json")) == 1
    assert (tmp_path / "annotated.mp4").stat().st_size > 1000
    assert not list(tmp_path.glob("*.part"))


def test_the_summary_counts_and_takes_percentiles(tmp_path, frame, scene):
    with ResultWriter(tmp_path) as writer:
        for source in ("one.mp4", "two.mp4"):
            writer.begin(source, moving=True, rate=10)
            for k in range(5):
                timings = {"network": float(k), "lifting": 1.0}
                shown = frame.bodies[: 0 if k == 4 else 2]
                writer.add(
                    scene.image(99),
                    replace(frame, bodies=shown, index=k, stamp=k / 10, timings_ms=timings),
                )
    summary = writer.summary()
    assert (summary.frames, summary.frames_with_people, summary.people) == (10, 8, 16)
    assert summary.tracks == 4  # identities of one video say nothing about another
    assert list(summary.latency) == ["network", "lifting", "total"]
    assert summary.latency["total"].p50 == pytest.approx(3.0)
    assert summary.latency["network"].p95 == pytest.approx(4.0, abs=0.3)
    assert {"annotated.mp4", "annotated_two.mp4"} <= set(summary.files)


def test_no_frames_leave_an_empty_list(tmp_path):
    with ResultWriter(tmp_path) as writer:
        writer.begin("clip.mp4", moving=True, rate=10)
    assert read_bodies(tmp_path / "bodies.json") == []
    assert writer.summary().files == ("bodies.json",)


def test_no_frames_cost_no_earlier_results(tmp_path, frame, scene):
    with ResultWriter(tmp_path) as writer:
        writer.begin("clip.mp4", moving=True, rate=10)
        writer.add(scene.image(99), frame)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 4
    with ResultWriter(tmp_path) as writer:
        writer.begin("clip.mp4", moving=True, rate=10)
        writer.begin("other.mp4", moving=True, rate=10)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't read"),
        ("{", "can't read"),
        ("[]", 'expected {"frames"'),
        ('{"frames": 1}', 'expected {"frames"'),
        ('{"frames": [{"index": 0}]}', r"bodies\.json, frame 0: not a frame.*'bodies' is missing"),
        ('{"frames": [1]}', r"bodies\.json, frame 0: not a frame of bodies: a part of it is"),
        ('{"frames": [{"bodies": [[]]}]}', r"bodies\.json, frame 0: not a body: a part of it is"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "bodies.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_bodies(tmp_path / "bodies.json")
