"""People in the world: read with their floor or their camera, and put anywhere before a camera."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MUCO21
from smap_train.data.layouts.world import (
    above,
    check_scenes,
    open_muco_world,
    open_virtual_world,
)
from smap_train.data.synthetic_scenes import PEOPLE, SyntheticScenes, placed
from smap_train.engine.sampling import BadRecordError
from smap_train.models.virtualpose.cameras import project
from smap_train.models.virtualpose.config import JOINTS, ROOT, VirtualPoseConfig

from .bodies import body, picture, scene, write_scenes, write_shard
from .test_smap_sources import muco_file


def seen(found) -> np.ndarray:
    points = torch.from_numpy(found.joints_mm.reshape(1, -1, 3)).float()
    return project(found.camera, points)[0].numpy().reshape(*found.joints_mm.shape[:2], 2)


@pytest.mark.parametrize("pitch", [0.0, 0.4])
def test_virtual_people_stand_on_their_floor(tmp_path, pitch):
    """Seen by the world's camera they are where the picture shows them."""
    numbers = body(0.5, 4.0)
    mounting = Mounting(height=1.3, pitch=pitch, roll=0.1)
    rotation, _ = mounting.pose(0.0)
    normal = rotation @ (0.0, 0.0, 1.0)
    labels = scene(numbers[None])
    labels["floor"] = {"normal": normal.tolist(), "distance": 1.3}
    folder = write_shard(tmp_path / "shards", [(labels, picture(numbers[None]))])
    (found,) = open_virtual_world([folder])
    np.testing.assert_allclose(seen(found)[0], numbers[:, :2], atol=1e-2)
    height = numbers[:, 4:7] / 100 @ normal + 1.3
    np.testing.assert_allclose(found.joints_mm[0, :, 2], 1000 * height, atol=1e-6)


def test_a_camera_that_looks_straight_down_has_a_world_too():
    for normal in ([0, 0, -1.0], [0, 0, 1.0], [0, -1.0, 0]):
        rotation = above(np.array(normal))
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        np.testing.assert_allclose(rotation[:, 2], normal)


def test_muco_is_turned_so_that_z_is_up(tmp_path):
    path = muco_file(tmp_path)
    content = json.loads(path.read_text())
    angle = 0.4
    rotation = [
        [np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)],
    ]  # fmt: skip
    for image in content["images"]:
        image.update(R=np.array(rotation).ravel().tolist(), T=[100, -200, 3000])
    path.write_text(json.dumps(content))
    (found,) = open_muco_world(path)
    points = np.array(content["annotations"][0]["keypoints_cam"], float)
    rows = [MUCO21.index(name) for name in JOINTS]
    pixels = points[rows, :2] / points[rows, 2:] * (1500, 1510) + (1024, 1020)
    np.testing.assert_allclose(seen(found)[0], pixels, atol=1e-2)
    # Its own world: X with x_cam = R X + T, y up.
    own = (points[rows] - (100, -200, 3000)) @ np.array(rotation)
    np.testing.assert_allclose(found.joints_mm[0], np.stack([own[:, 0], -own[:, 2], own[:, 1]], 1))


def test_people_are_put_down_apart_and_keep_their_heights():
    poses = np.random.default_rng(0).normal(0, 400, (6, 15, 3))
    for seed in range(20):
        out = placed(poses, np.random.default_rng(seed))
        np.testing.assert_allclose(out[..., 2], poses[..., 2])
        spread = np.linalg.norm(poses - poses[:, ROOT, None], axis=-1)
        np.testing.assert_allclose(np.linalg.norm(out - out[:, ROOT, None], axis=-1), spread)
        roots = out[:, ROOT, :2]
        assert (np.abs(roots) <= 2000).all()
        off = np.linalg.norm(roots[:, None] - roots[None], axis=-1) + 1e4 * np.eye(6)
        assert off.min() >= 600


def test_scenes_label_everybody_who_is_drawn(tmp_path):
    recorded = open_virtual_world([write_scenes(tmp_path / "virtual")])
    check_scenes(recorded)
    config = VirtualPoseConfig(joints=15, image_size=(320, 192), map_size=(80, 48))
    scenes = SyntheticScenes([recorded], config)
    made = scenes.draw(recorded[0], np.random.default_rng(3))
    again = scenes.draw(recorded[0], np.random.default_rng(3))
    np.testing.assert_array_equal(made.seen.maps, again.seen.maps)
    assert made.seen.joints_mm.shape == (PEOPLE, 15, 3)
    assert made.seen.maps.shape == (19, 48, 80)
    inside = made.seen.in_view
    for person in np.flatnonzero(inside):
        row, column = divmod(int(made.seen.inds[person]), 80)
        assert made.seen.maps[ROOT, row, column] > 0.2  # weakened and displaced, but there
    # The camera is the recorded one, moved with the origin.
    before, after = recorded[0].camera, made.camera
    torch.testing.assert_close(before.rotation, after.rotation)
    origin = recorded[0].joints_mm[:, ROOT, :2].mean(axis=0)
    moved = (before.position_mm - after.position_mm)[0].numpy()
    np.testing.assert_allclose(moved, [*origin, -50], atol=1e-2)


def test_other_units_and_malformed_labels_are_refused(tmp_path):
    numbers = body()
    labels = scene(numbers[None])
    small = json.loads(json.dumps(labels))
    small["people"][0]["joints_3d"] = (numbers[:, 4:7] / 1e5).tolist()
    folder = write_shard(tmp_path / "small", [(small, picture(numbers[None]))])
    with pytest.raises(InputError, match="people are 2 high; expected millimetres"):
        check_scenes(open_virtual_world([folder]))
    del labels["floor"]
    folder = write_shard(tmp_path / "bad", [(labels, picture(numbers[None]))])
    with pytest.raises(BadRecordError, match=r"sample 000000: labels are malformed.*floor"):
        open_virtual_world([folder])[0]
    words = r"none of 1 scenes .*sample 000000: .*it states no floor; expected shards of `smap-tra"
    with pytest.raises(InputError, match=words):
        check_scenes(open_virtual_world([folder]))
