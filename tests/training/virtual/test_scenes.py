"""Rendering and its truth. Skipped only where no EGL context can be made."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.virtual.bodies import SEGMENT_INDEX
from smap_train.virtual.cameras import view_from
from smap_train.virtual.cli import run
from smap_train.virtual.config import SensorSettings, StillsConfig
from smap_train.virtual.geometry import about
from smap_train.virtual.outfits import HelperWardrobe
from smap_train.virtual.parts import Material
from smap_train.virtual.people import Person, lowest
from smap_train.virtual.posing import neutral_pose, posed
from smap_train.virtual.preview import drawn
from smap_train.virtual.renderer import Light, View
from smap_train.virtual.scene import Stills
from smap_train.virtual.sensor import Sensor
from smap_train.virtual.shapes import box
from smap_train.virtual.shards import claim_folder, missing_shards, shard_path, write_shard
from smap_train.virtual.truth import OCCLUDED, OUTSIDE, VISIBLE, describe

from .conftest import SMALL

J = MPI15.index
LIGHT = Light(
    np.array([0.0, -0.6, 0.8]), (1, 1, 1), (0.5,) * 3, (0.3,) * 3, (0, 0, 0),
    np.array([1.0, 0, 0]), 1.5, 0.8, np.array([0, 4.0, 0.8]),
)  # fmt: skip


@pytest.fixture(scope="module")
def view() -> View:
    camera = Camera.from_fov(SMALL["width"], SMALL["height"], np.radians(60))
    return view_from(camera, np.array([0.0, 0.0, 1.0]), 0.0)


@pytest.fixture(scope="module")
def stand(pool):
    """Somebody standing at (x, y), facing the camera when heading is 0."""

    def make(x: float, y: float, heading: float = 0.0) -> Person:
        body = pool[0]
        # Arms slightly away from the body, so that it hides no joint of its own.
        arms = neutral_pose()
        for side, sign in (("l", -1), ("r", 1)):
            for segment in ("upperarm", "forearm", "hand"):
                arms[SEGMENT_INDEX[f"{side}_{segment}"]] = about("y", sign * 0.5)
        pose = posed(body, pool.model, arms, about("z", heading))
        pose = pose.moved(np.array([x, y, -lowest(pool.model, body, pose)]))
        outfit = HelperWardrobe(pool.model).dress(body, np.random.default_rng(0))
        return Person(body, outfit, pose, "stand", heading)

    return make


def truth_of(stills, people, view, extra=()):
    parts = list(extra)
    for k, person in enumerate(people):
        parts += person.parts(k + 1)
    frame = stills.studio.renderer.render(parts, view, LIGHT, "plain")
    model = stills.studio.pool.model
    return frame, [describe(p, k, k + 1, model, view, frame) for k, p in enumerate(people)]


def test_facing_the_camera_the_left_side_is_right_in_the_picture(stills, stand, view):
    _, [front] = truth_of(stills, [stand(0, 4)], view)
    _, [back] = truth_of(stills, [stand(0, 4, np.pi)], view)
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        left, right = (front["joints_2d"][J(f"{s}_{joint}")][0] for s in "lr")
        assert left > right + 2
        left, right = (back["joints_2d"][J(f"{s}_{joint}")][0] for s in "lr")
        assert left < right - 2


def test_the_frame_is_optical_and_metric(stills, stand, view):
    _, [person] = truth_of(stills, [stand(0.5, 4)], view)
    joints = np.array(person["joints_3d"])
    assert joints[J("pelvis"), 0] == pytest.approx(0.5, abs=0.05)
    assert joints[J("pelvis"), 2] == pytest.approx(4, abs=0.1)
    assert joints[J("head_top"), 1] < joints[J("pelvis"), 1] < joints[J("l_ankle"), 1]
    # The camera is 1 m above the floor; ankles are a hand's breadth above it.
    assert 0.03 < 1.0 - joints[J("l_ankle"), 1] < 0.14


def test_everything_in_plain_sight_is_visible(stills, stand, view):
    frame, [person] = truth_of(stills, [stand(0, 4)], view)
    assert person["visibility"] == [VISIBLE] * 15
    assert person["pixels"] == (frame.labels == 1).sum() > 200


def test_a_box_in_front_occludes_exactly_what_it_covers(stills, stand, view):
    wall = box((0.0, 3.0, 0.35), (3.0, 0.1, 0.7), Material())  # hides legs below the hip
    _, [person] = truth_of(stills, [stand(0, 4)], view, [wall])
    for name in ("l_knee", "r_knee", "l_ankle", "r_ankle"):
        assert person["visibility"][J(name)] == OCCLUDED
    for name in ("neck", "head_top", "l_shoulder", "r_elbow", "pelvis"):
        assert person["visibility"][J(name)] == VISIBLE


def test_a_box_behind_occludes_nothing(stills, stand, view):
    wall = box((0.0, 5.0, 1.0), (6.0, 0.1, 2.0), Material())
    _, [person] = truth_of(stills, [stand(0, 4)], view, [wall])
    assert person["visibility"] == [VISIBLE] * 15


def test_a_person_in_front_occludes_the_one_behind(stills, stand, view):
    frame, [near, far] = truth_of(stills, [stand(0, 2.5), stand(0, 5.0)], view)
    assert near["visibility"][J("pelvis")] == VISIBLE
    assert far["visibility"][J("pelvis")] == OCCLUDED
    assert far["id"] == 1
    assert far["pixels"] < (frame.labels == 1).sum()


def test_joints_beyond_the_border_are_outside(stills, stand, view):
    _, [person] = truth_of(stills, [stand(0, 1.0)], view)
    assert person["visibility"][J("l_ankle")] == OUTSIDE
    x, y, w, h = person["box"]
    assert x >= 0
    assert y >= 0
    assert x + w <= SMALL["width"]
    assert y + h <= SMALL["height"]


def test_somebody_out_of_view_is_left_out(stills, stand, view):
    _, [person] = truth_of(stills, [stand(30, 4)], view)
    assert person is None


def test_labels_and_depth_agree_with_geometry(stills, stand, view):
    wall = box((0.0, 6.05, 1.0), (20.0, 0.1, 8.0), Material())
    frame, [person] = truth_of(stills, [stand(0, 4)], view, [wall])
    assert frame.depth[frame.labels == 0] == pytest.approx(6.0, abs=0.01)
    u, v = np.rint(person["joints_2d"][J("neck")]).astype(int)
    assert frame.labels[v, u] == 1
    assert 0 < person["joints_3d"][J("neck")][2] - frame.depth[v, u] < 0.15


@pytest.mark.parametrize("index", range(6))
def test_samples_are_consistent(stills, index):
    sample = stills.sample(index)
    truth = sample.truth
    camera = Camera.from_json(truth["camera"])
    up, distance = np.array(truth["floor"]["normal"]), truth["floor"]["distance"]
    for k, person in enumerate(truth["people"]):
        joints, pixels = np.array(person["joints_3d"]), np.array(person["joints_2d"])
        ahead = joints[:, 2] > 0.2
        expected = joints[:, :2] / joints[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
        # Rounding to 0.01 mm and 0.001 px is all that may differ.
        np.testing.assert_allclose(pixels[ahead], expected[ahead], atol=0.05)
        above_floor = joints @ up + distance
        assert above_floor.min() > -0.05
        assert above_floor.max() < 3.0
        assert person["pixels"] == (sample.labels == k + 1).sum()
        inside = (pixels >= -0.5).all(1) & (pixels < (camera.width - 0.5, camera.height - 0.5)).all(
            1
        )
        np.testing.assert_array_equal(np.array(person["visibility"]) > 0, inside & ahead)
    decoded = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (camera.height, camera.width, 3)
    assert drawn(sample.rgb, truth).shape == (2 * camera.height, 2 * camera.width, 3)


def test_a_sensor_without_blur_leaves_edges_sharp():
    none = {"motion_blur_share": 0.0, "noise": (0, 0), "exposure": (1, 1), "cast": 0.0}
    still = {"blur": (0, 0), "gamma_share": 0.0, "grey_share": 0.0}
    sensor = Sensor.draw(SensorSettings(**none, **still), np.random.default_rng(0))
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 200
    np.testing.assert_array_equal(sensor.expose(edge, np.random.default_rng(1)), edge)


def test_a_sample_depends_on_seed_and_index_only(stills):
    first = stills.sample(2)
    fresh = Stills(stills.config)  # another process would start like this
    fresh.sample(9)
    again = fresh.sample(2)
    assert again.jpeg == first.jpeg
    assert again.truth == first.truth
    other = Stills(stills.config.model_copy(update={"seed": 4}), stills.studio).sample(2)
    assert other.truth["people"] != first.truth["people"]


class TestShards:
    @pytest.fixture
    def config(self, stills, tmp_path) -> StillsConfig:
        return stills.config.model_copy(
            update={"out": tmp_path / "shards", "samples": 5, "shard_size": 2}
        )

    def test_contents_are_complete_and_in_order(self, stills, config):
        claim_folder(config)
        path = write_shard(Stills(config, stills.studio), 2)
        with tarfile.open(path) as tar:
            assert tar.getnames() == ["000004.jpg", "000004.json", "000004.mask.png"]
            truth = json.load(tar.extractfile("000004.json"))
            assert truth["index"] == 4
            png = np.frombuffer(tar.extractfile("000004.mask.png").read(), np.uint8)
        labels = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        assert labels.max() <= len(truth["people"])

    def test_finished_shards_are_kept_and_order_does_not_matter(self, stills, config):
        claim_folder(config)
        maker = Stills(config, stills.studio)
        for k in (2, 0):
            write_shard(maker, k)
        assert missing_shards(config) == [1]
        before = {k: shard_path(config, k).read_bytes() for k in (0, 2)}
        shard_path(config, 0).unlink()
        write_shard(maker, 1)
        write_shard(maker, 0)
        assert {k: shard_path(config, k).read_bytes() for k in (0, 2)} == before
        assert missing_shards(config) == []
        assert not list(config.out.glob(".*")), "no partial files stay behind"

    def test_a_stopped_shard_leaves_nothing(self, stills, config):
        claim_folder(config)

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_shard(Stills(config, stills.studio), 0, stop)
        assert [p.name for p in config.out.iterdir()] == ["settings.json"]

    def test_other_settings_do_not_mix_in_one_folder(self, config):
        claim_folder(config)
        claim_folder(config.model_copy(update={"samples": 50, "workers": 2}))
        with pytest.raises(InputError, match=r"other settings \(seed\)"):
            claim_folder(config.model_copy(update={"seed": 99}))

    def test_the_last_shard_of_a_smaller_set_is_made_whole(self, stills, config):
        claim_folder(config)
        for shard in missing_shards(config):
            write_shard(Stills(config, stills.studio), shard)
        larger = config.model_copy(update={"samples": 6})
        claim_folder(larger)
        assert missing_shards(larger) == [2]
        assert missing_shards(config.model_copy(update={"samples": 3})) == []
        write_shard(Stills(larger, stills.studio), 2)
        with tarfile.open(shard_path(larger, 2)) as tar:
            pictures = [name for name in tar.getnames() if name.endswith(".jpg")]
        assert pictures == ["000004.jpg", "000005.jpg"]

    def test_damaged_shards_are_made_anew(self, stills, config):
        claim_folder(config)
        path = write_shard(Stills(config, stills.studio), 0)
        whole = path.read_bytes()
        for rest in (0, len(whole) // 3, len(whole.rstrip(b"\0"))):  # the last lacks its end mark
            path.write_bytes(whole[:rest])
            assert missing_shards(config) == [0, 1, 2]
        write_shard(Stills(config, stills.studio), 0)
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("note", ["", '{"seed": 3', "[]", '{"camera": 3}'])
    def test_a_damaged_note_of_the_settings_is_told(self, config, note):
        config.out.mkdir()
        (config.out / "settings.json").write_text(note)
        with pytest.raises(InputError, match=r"settings\.json is damaged"):
            claim_folder(config)

    def test_shards_of_unknown_settings_are_not_mixed_with_others(self, stills, config):
        claim_folder(config)
        write_shard(Stills(config, stills.studio), 0)
        (config.out / "settings.json").unlink()
        with pytest.raises(InputError, match=r"holds shards and no settings\.json"):
            claim_folder(config.model_copy(update={"seed": 99}))

    @pytest.mark.slow  # starts two Python processes, or a cluster
    @pytest.mark.parametrize("ray", ["", "local"])
    def test_two_workers_write_the_same_bytes_as_one(
        self, stills, config, tmp_path, ray, monkeypatch
    ):
        if ray:
            pytest.importorskip("ray", reason="pip install 'smap-ros[ray]'")
        monkeypatch.chdir(tmp_path)
        text = "\n".join(f"{k}: {v}" for k, v in SMALL.items())
        path = tmp_path / "config.yaml"
        path.write_text(f"{text}\npeople: [2, 4]\nsamples: 4\nshard_size: 2\n")
        run(path, out=Path("two"), workers=2, ray=ray)
        one = config.model_copy(update={"samples": 4})
        claim_folder(one)
        for k in (0, 1):
            write_shard(Stills(one, stills.studio), k)
            name = shard_path(one, k).name
            assert (tmp_path / "two" / name).read_bytes() == shard_path(one, k).read_bytes()

    def test_preview_is_a_contact_sheet(self, stills, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text("\n".join(f"{k}: {v}" for k, v in SMALL.items()) + "\nsamples: 5\n")
        run(path, preview=tmp_path / "sheet.png")
        sheet = cv2.imread(str(tmp_path / "sheet.png"))
        assert sheet.shape == (2 * 2 * SMALL["height"], 4 * 2 * SMALL["width"], 3)
