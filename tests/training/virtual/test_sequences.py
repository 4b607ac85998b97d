"""Sequences as shards: routes, identities, stamps, a camera that drives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from smap_ros.errors import EngineError, InputError
from smap_ros.evaluation.common.shards import read_scenes
from smap_ros.skeletons import MPI15
from smap_train.virtual.cli import run
from smap_train.virtual.config import SequencesConfig
from smap_train.virtual.sequences import Sequences
from smap_train.virtual.shards import claim_folder, missing_shards, shard_path, write_shard

from .conftest import JOINTS, SMALL

FRAMES = 5


@pytest.fixture
def motion(write_motion):
    """A straight walk of three seconds, and somebody who turns on the spot."""
    frames = np.arange(180)
    root = np.stack([1.1 * frames / 60, 0.9 + 0 * frames, 0 * frames], axis=1)
    rotvec = np.zeros((len(frames), len(JOINTS), 3))
    swing = 0.5 * np.sin(2 * np.pi * frames / 60)
    rotvec[:, JOINTS.index("l_hip"), 0] = swing
    rotvec[:, JOINTS.index("r_hip"), 0] = -swing
    turning = np.zeros_like(rotvec)
    turning[:, JOINTS.index("root"), 1] = frames / 60
    return write_motion({"walking_7": (root, rotvec), "turning": (root * (0, 1, 0), turning)})


@pytest.fixture
def config(tmp_path, motion) -> SequencesConfig:
    return SequencesConfig(
        **SMALL, kind="sequences", sequences=3, seconds=1.0, fps=FRAMES, people=(2, 3),
        motion=motion, out=tmp_path / "shards",
    )  # fmt: skip


@pytest.fixture
def make(stills):  # skips where nothing can be rendered
    def maker(config: SequencesConfig) -> Sequences:
        try:
            return Sequences(config)
        except EngineError as error:
            pytest.skip(str(error))

    return maker


def tracks(samples) -> dict[int, dict[int, np.ndarray]]:
    """Person -> frame -> joints in the world of the first camera."""
    out: dict[int, dict[int, np.ndarray]] = {}
    for sample in samples:
        for person in sample.truth["people"]:
            joints = np.array(person["joints_3d"])
            out.setdefault(person["id"], {})[sample.truth["frame"]] = joints
    return out


def test_shards_are_sequences_that_the_evaluation_reads(make, config):
    maker = make(config)
    claim_folder(config)
    for shard in missing_shards(config):
        write_shard(maker, shard)
    scenes = read_scenes(config.out)
    assert [scene.sequence for scene in scenes] == [str(k) for k in range(3) for _ in range(FRAMES)]
    stamps = [scene.frame.stamp for scene in scenes]
    assert stamps == pytest.approx(list(np.arange(FRAMES) / FRAMES) * 3)
    assert scenes[4].image().shape == (SMALL["height"], SMALL["width"], 3)
    before = shard_path(config, 1).read_bytes()
    shard_path(config, 1).unlink()
    assert missing_shards(config) == [1]
    write_shard(make(config), 1)  # another process would start like this
    assert shard_path(config, 1).read_bytes() == before


def test_people_keep_their_identity_and_move_without_jumps(make, config):
    maker = make(config.model_copy(update={"moving_share": 0.0, "walking_share": 0.8}))
    moved = 0.0
    for number in range(2):
        samples = [maker.sample(number * FRAMES + k) for k in range(FRAMES)]
        found = tracks(samples)
        assert len(found) >= 2
        up, height = (samples[0].truth["floor"][key] for key in ("normal", "distance"))
        for frames in found.values():
            for k in frames.keys() & {k - 1 for k in frames}:
                step = np.linalg.norm(frames[k + 1] - frames[k], axis=1)
                assert step[MPI15.root] < 0.5  # in 0.2 s
                assert step.max() < 1.0
                moved = max(moved, step[MPI15.root])
            for joints in frames.values():
                above = joints @ np.array(up) + height
                assert -0.05 < above.min() < 0.35
    assert moved > 0.1, "somebody walks"


def test_those_who_stand_still_stay_where_they_are_while_the_camera_drives(make, config):
    changes = {"moving_share": 1.0, "still_share": 1.0, "walking_share": 0.0, "speed": (0.8, 0.9)}
    maker = make(config.model_copy(update=changes))
    samples = [maker.sample(k) for k in range(FRAMES)]
    drive = maker._scene.drive
    assert abs(drive.speed) >= 0.8
    first = drive.at(0.0)
    assert np.linalg.norm(drive.at(0.8).eye - first.eye) == pytest.approx(
        0.8 * abs(drive.speed), rel=0.01
    )
    for frames in tracks(samples).values():
        world = [
            joints @ drive.at(k / FRAMES).rotation + drive.at(k / FRAMES).eye
            for k, joints in frames.items()
        ]
        np.testing.assert_allclose(world, np.broadcast_to(world[0], np.shape(world)), atol=1e-4)
    floors = [sample.truth["floor"]["distance"] for sample in samples]
    np.testing.assert_allclose(floors, floors[0])


def test_a_camera_is_the_same_through_a_sequence(make, config):
    maker = make(config)
    samples = [maker.sample(FRAMES + k) for k in range(FRAMES)]
    assert len({str(sample.truth["camera"]) for sample in samples}) == 1
    brightness = [cv2.cvtColor(s.rgb, cv2.COLOR_RGB2GRAY).mean() for s in samples]
    assert np.ptp(brightness) < 25  # no flicker of exposure


def test_walkers_can_carry(make, config):
    changes = {"walking_share": 1.0, "still_share": 0.0, "carrying_share": 1.0, "people": (1, 1)}
    maker = make(config.model_copy(update=changes))
    first, last = maker.sample(0), maker.sample(FRAMES - 1)
    [actor] = maker._scene.actors
    assert actor.person.posture == "carry_walking_7"
    assert actor.person.held is not None
    boxes = [
        actor.at(t).held.part(actor.at(t).body, actor.at(t).posed).positions.mean(0)
        for t in (0.0, 0.8)
    ]
    assert np.linalg.norm(boxes[1] - boxes[0]) > 0.4, "the box goes along"
    assert first.truth["people"]
    assert last.truth["sequence"] == 0


def test_preview_shows_each_sequence_in_a_row(stills, tmp_path, motion):
    path = tmp_path / "config.yaml"
    small = "\n".join(f"{k}: {v}" for k, v in SMALL.items())
    path.write_text(f"{small}\nkind: sequences\nsequences: 2\nseconds: 1\nfps: 5\n")
    run(path, motion=motion, preview=tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 2 * SMALL["height"], 4 * 2 * SMALL["width"], 3)


def test_sequences_need_motions_and_a_walk(stills, config, write_motion):
    with pytest.raises(InputError, match="--motion"):
        Sequences(config.model_copy(update={"motion": None}))
    still = np.zeros((180, len(JOINTS), 3))
    path = write_motion({"standing": (np.zeros((180, 3)), still)})
    with pytest.raises(InputError, match=r"no straight walk"):
        Sequences(config.model_copy(update={"motion": path}))
