"""Clips: films with truth, on a walk made for the test."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import yaml

from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.paths import config_directory
from smap_ros.skeletons import MPI15
from smap_train.virtual.cli import run

from .conftest import JOINTS, SMALL

PERSON = "{motion: %s, body: 1, look: 2, waypoints: [[-0.8, 4.0], [0.8, 4.0]]}"


@pytest.fixture
def motion(write_motion):
    frames = np.arange(180)
    root = np.stack([frames / 60.0, 0.9 + 0 * frames, 0 * frames], axis=1)
    rotvec = np.zeros((len(frames), len(JOINTS), 3))
    rotvec[:, JOINTS.index("root"), 1] = -np.pi / 2  # row vectors: face +x, the way it goes
    swing = 0.5 * np.sin(2 * np.pi * frames / 60)
    rotvec[:, JOINTS.index("l_hip"), 0] = swing
    rotvec[:, JOINTS.index("r_hip"), 0] = -swing
    return write_motion({"walk": (root, rotvec)})


def settings(tmp_path, motion: str = "walk", fps: int = 10):
    path = tmp_path / "clip.yaml"
    small = "\n".join(f"{k}: {v}" for k, v in SMALL.items())
    person = PERSON % motion
    path.write_text(
        f"kind: clip\n{small}\nfps: {fps}\nseconds: 1.0\nmotion_split: all\npeople: [{person}]\n"
    )
    return path


def test_a_film_has_truth_for_every_frame(stills, tmp_path, motion):
    run(settings(tmp_path), motion=motion, out=tmp_path / "film")
    truth = json.loads((tmp_path / "film" / "truth.json").read_text())
    with av.open(str(tmp_path / "film" / "clip.mp4")) as film:
        frames = list(film.decode(video=0))
    assert len(frames) == len(truth["frames"]) == 10
    assert (frames[0].width, frames[0].height) == (SMALL["width"], SMALL["height"])
    assert [f["stamp"] for f in truth["frames"]] == pytest.approx(np.arange(10) / 10)
    camera = Camera.from_yaml(tmp_path / "film" / "camera.yaml")
    assert camera.matrix == pytest.approx(Camera.from_json(truth["camera"]).matrix, abs=1e-5)


def test_walkers_go_forward_along_their_waypoints(stills, tmp_path, motion):
    run(settings(tmp_path), motion=motion, out=tmp_path / "film")
    truth = json.loads((tmp_path / "film" / "truth.json").read_text())
    people = [np.array(f["people"][0]["joints_3d"]) for f in truth["frames"]]
    pelvis = np.array([p[MPI15.root] for p in people])
    assert pelvis[0, 0] == pytest.approx(-0.8, abs=0.1)
    assert pelvis[-1, 0] - pelvis[0, 0] == pytest.approx(0.9, abs=0.25)  # a metre a second
    np.testing.assert_allclose(pelvis[:, 2], 4.0, atol=0.15)
    # Going right in the picture, the left side is the far one.
    for joints in people:
        depth = joints[:, 2]
        assert depth[MPI15.index("l_shoulder")] > depth[MPI15.index("r_shoulder")] + 0.1
    assert {f["people"][0]["id"] for f in truth["frames"]} == {0}


@pytest.mark.parametrize(
    ("name", "fps", "complaint"),
    [("dance", 10, "'dance' is not in the split"), ("walk", 13, "divisor of the mocap's 60 Hz")],
)
def test_unknown_motion_and_frame_rate_are_refused(stills, tmp_path, motion, name, fps, complaint):
    with pytest.raises(InputError, match=complaint):
        run(settings(tmp_path, name, fps), motion=motion, out=tmp_path / "film")


def test_a_start_beyond_the_motion_is_refused(stills, tmp_path, motion):
    path = settings(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["people"][0] |= {"start": 3.5, "waypoints": [[0.0, 4.0]]}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"start is 3.5 s into motion 'walk', of which 3.0 s can"):
        run(path, motion=motion, out=tmp_path / "film")


def test_a_clip_needs_motion(stills, tmp_path):
    with pytest.raises(InputError, match="--motion"):
        run(settings(tmp_path), out=tmp_path / "film")


def test_the_shipped_clip_and_its_truth_belong_together():
    demo = config_directory() / "demo"
    truth = json.loads((demo / "truth.json").read_text())
    with av.open(str(demo / "clip.mp4")) as film:
        stream = film.streams.video[0]
        assert stream.average_rate == truth["fps"]
        count = sum(1 for _ in film.decode(stream))
        size = (stream.width, stream.height)
    camera = Camera.from_yaml(demo / "camera.yaml")
    assert count == len(truth["frames"]) >= 60
    assert size == (camera.width, camera.height)
    assert camera.matrix == pytest.approx(Camera.from_json(truth["camera"]).matrix, abs=1e-5)
    for frame in truth["frames"]:
        assert [person["id"] for person in frame["people"]] == [0, 1, 2]
        for person in frame["people"]:
            joints = np.array(person["joints_3d"])
            pixels = joints @ camera.matrix.T
            np.testing.assert_allclose(
                pixels[:, :2] / pixels[:, 2:], person["joints_2d"], atol=0.05
            )
    assert (demo / "clip.mp4").stat().st_size < 1.5e6
