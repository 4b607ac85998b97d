"""A film as a robot's recording: the same bytes each time, TF and truth that belong together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bags.transforms import CameraMotion, read_transforms
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.skeletons import MPI15
from smap_ros.sources.bag import BagSource
from smap_train.virtual.bag import RobotBag
from smap_train.virtual.cameras import view_from
from smap_train.virtual.cli import run

from .conftest import SMALL
from .test_clip import motion  # noqa: F401  a fixture

SHIPPED = Path(__file__).parents[2] / "robot_bag"


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "clip.yaml"
    small = "\n".join(f"{k}: {v}" for k, v in SMALL.items())
    person = "{motion: walk, body: 1, look: 2, waypoints: [[-0.8, 4.0], [0.8, 4.0]]}"
    path.write_text(
        f"kind: clip\n{small}\nfps: 10\nseconds: 0.5\nmotion_split: all\npeople: [{person}]\n"
        "bag: true\ncamera_speed: 0.5\ncamera_turn_deg: 20\npillars: [[1.0, 3.0, 0.4]]\n"
    )
    return path


def test_twice_the_same_bytes_with_the_films_pictures(stills, settings, tmp_path, motion):  # noqa: F811
    for out in ("one", "two"):
        run(settings, motion=motion, out=tmp_path / out)
    files = ("bag/bag.mcap", "bag/metadata.yaml", "truth.json")
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    source = BagSource(tmp_path / "one" / "bag")
    frames = list(source)
    truth = json.loads((tmp_path / "one" / "truth.json").read_text())
    assert [frame.stamp - 100 for frame in frames] == pytest.approx(
        [frame["stamp"] for frame in truth["frames"]]
    )
    assert all(frame.camera.to_json() == truth["camera"] for frame in frames)


def test_a_folder_in_the_place_of_the_bag_is_nobodys_to_remove(tmp_path):
    view = view_from(Camera.from_fov(64, 48, 1.0), np.array([0.0, 0.0, 1.2]), 0.0)
    folder = tmp_path / "bag"
    for _ in range(2):  # an earlier bag is replaced
        with RobotBag(folder, view, 10) as bag:
            bag.add(np.zeros((48, 64, 3), np.uint8), view)
    assert sorted(file.name for file in folder.iterdir()) == ["bag.mcap", "metadata.yaml"]
    (folder / "notes").mkdir()
    (folder / "notes/day.txt").write_text("mine")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match=r"bag holds notes; .*expected .*choose another `out`"):
        RobotBag(folder, view, 10)
    assert before == {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    (tmp_path / "link").symlink_to(folder)
    for name in ("link", "file"):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(InputError, match="is no folder"):
            RobotBag(tmp_path / name, view, 10)
    assert (tmp_path / "file").read_text() == "mine" and (tmp_path / "link").is_symlink()


def poses(folder: Path):
    """Of the camera at each image, and the true people in odom."""
    motion_ = CameraMotion(read_transforms(folder / "bag"))
    frames = list(BagSource(folder / "bag"))
    found = [motion_.pose(frame.frame_id, frame.stamp) for frame in frames]
    scenes = read_clip(folder / "truth.json")
    people = [
        {b.id: (p[:3, :3] @ b.joints_3d.T).T + p[:3, 3] for b in scene.frame}
        for p, scene in zip(found, scenes, strict=True)
    ]
    return found, people, scenes


def test_the_shipped_bag_shows_two_who_cross_one_of_them_hidden_from_a_camera_that_turns():
    found, people, scenes = poses(SHIPPED)
    headings = np.unwrap([np.arctan2(p[1, 2], p[0, 2]) for p in found])
    assert np.degrees(np.ptp(headings)) > 25 and found[-1][0, 3] - found[0][0, 3] > 1.0
    # Feet stand on odom's floor whatever the camera does.
    ankles = [MPI15.index(f"{side}_ankle") for side in ("l", "r")]
    lowest = [joints[ankles, 2].min() for everybody in people for joints in everybody.values()]
    assert min(lowest) > -0.05 and max(lowest) < 0.25
    walks = [np.array([e[k][MPI15.root, :2] for e in people if k in e]) for k in (0, 1)]
    for walk in walks:
        speeds = 10 * np.linalg.norm(np.diff(walk, axis=0), axis=1)
        assert 0.4 < np.median(speeds) < 2.5 and speeds.max() < 4
    sides = [s.frame.bodies[0].root[0] - s.frame.bodies[1].root[0] for s in scenes[:30]]
    assert sides[0] < -1 and sides[-1] > 1  # they have changed sides
    hidden = [[not c for c in scene.counted] for scene in scenes[:30]]
    longest = max(_run(column) for column in zip(*hidden, strict=True))
    assert 4 <= longest <= 8  # pictures, a tenth of a second each
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) < 700_000


def _run(flags) -> int:
    longest = here = 0
    for flag in flags:
        here = here + 1 if flag else 0
        longest = max(longest, here)
    return longest
