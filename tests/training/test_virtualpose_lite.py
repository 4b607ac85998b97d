"""virtualpose_lite: its scenes, what it reads of them, its training, and its bundle."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.data.level_scenes import LevelScene, RandomScenes, SeenScenes, abstract, collate
from smap_train.engine.trainer import train
from smap_train.models import create
from smap_train.models.checkpoint import load_model, save_checkpoint
from smap_train.models.virtualpose.cameras import project, to_cells
from smap_train.models.virtualpose.config import ROOT, VirtualPoseConfig
from smap_train.models.virtualpose.lite import LITE
from smap_train.models.virtualpose.projection import Voxels, read, widened
from smap_train.recipes.registry import open_recipe
from smap_train.recipes.virtualpose_lite import (
    VirtualPoseLiteConfig,
    VirtualPoseLiteRecipe,
    displaced,
)
from tests.training.data.bodies import body, picture, write_shard
from tests.training.data.bodies import scene as rendered

SMALL = {
    "image_size": [96, 64],
    "map_size": [24, 16],
    "space_bins": [12, 12, 4],
    "person_bins": 8,
    "v2v_width": 4,
    "depth_stem_width": 4,
    "depth_head_width": 4,
    "widening": [1, 3],
}
CONFIG = VirtualPoseConfig(**LITE)
# A standing person about the pelvis, metres, z up, facing -y.
STANDING = np.array(
    [
        *[(0, 0, 0.5), (0, 0, 0.78), (0, 0, 0)],
        *[(0.2, 0, 0.48), (0.28, 0, 0.2), (0.3, -0.1, 0.0)],
        *[(0.1, 0, 0), (0.12, -0.05, -0.42), (0.12, 0, -0.85)],
        *[(-0.2, 0, 0.48), (-0.28, 0, 0.2), (-0.3, -0.1, 0.0)],
        *[(-0.1, 0, 0), (-0.12, -0.05, -0.42), (-0.12, 0, -0.85)],
    ],
    np.float32,
)


def scenes(count: int, config: VirtualPoseConfig = CONFIG) -> list[LevelScene]:
    source = RandomScenes(np.stack([STANDING, 0.9 * STANDING]), config, people=(1, 4))
    return [source.draw(np.random.default_rng(k)) for k in range(count)]


def config_of(**values) -> VirtualPoseLiteConfig:
    return VirtualPoseLiteConfig(**{"out": "unused", "network": SMALL, **values})


def projected_cells(scene: LevelScene, config: VirtualPoseConfig = CONFIG) -> np.ndarray:
    """Map cells of the joints by the networks' own projection, through their world."""
    seen, view = abstract(scene, config)
    pixels, _ = project(view, torch.from_numpy(seen.joints_mm).reshape(1, -1, 3))
    return to_cells(pixels, view.image_size, config).numpy().reshape(-1, 15, 2)


# heatmaps in wide voxels


def test_widened_peaks_keep_their_height_and_reach_twice_the_radius():
    heatmaps = torch.zeros(1, 1, 31, 41)
    heatmaps[0, 0, 15, 20] = 0.7
    levels = widened(heatmaps, (2, 5))
    assert levels.shape == (1, 3, 31, 41) and torch.equal(levels[:, :1], heatmaps)
    for level, radius in ((1, 2), (2, 5)):
        row = levels[0, level, 15]
        assert row[20] == pytest.approx(0.7, rel=1e-5) and row.argmax() == 20
        assert row[20 + radius] == pytest.approx(0.7 * (radius + 1) / (2 * radius + 1), rel=1e-4)
        assert row[20 + 2 * radius] > 0
        assert not row[20 + 2 * radius + 1 :].any()
        torch.testing.assert_close(row[: 20 + 1].flip(0), row[20 : 20 + 21])
    assert torch.equal(widened(heatmaps, ()), heatmaps)


def test_a_narrow_peak_between_wide_voxels_is_read_when_heatmaps_are_widened():
    scene = LevelScene(
        Camera.from_fov(448, 256, math.radians(70)),
        Mounting(1.2, 0.1),
        np.zeros((0, 15, 3), np.float32),
        np.zeros((15, 64, 112), np.float32),
    )
    _, cameras, _ = collate([scene], CONFIG)
    heatmaps = torch.zeros(1, 15, 64, 112)
    heatmaps[0, :, 32, 56] = 1.0
    # At 2 m, voxels 105 mm apart are 4 cells apart; the peak is in the middle of two of them.
    cells = torch.tensor([[[54.0, 32.0], [58.0, 32.0]]])
    voxels = Voxels(cells, torch.full((1, 2), 2000.0), torch.ones(1, 2))
    plain = dataclasses.replace(CONFIG, widening=())
    assert not read(heatmaps, voxels, 105.0, cameras, plain).any()
    wide = widened(heatmaps, CONFIG.widening)
    assert (read(wide, voxels, 105.0, cameras, CONFIG) > 0.4).all()
    # Far away the same voxels are narrow, and the heatmaps are read nearly as they are.
    far = voxels._replace(depth_mm=torch.full((1, 2), 40_000.0))
    assert (read(wide, far, 105.0, cameras, CONFIG) < 0.06).all()


# scenes


def test_scenes_are_level_and_project_to_where_their_heatmaps_were_drawn():
    drawn = scenes(12)
    assert sum(len(scene.joints) for scene in drawn) > 12
    for scene in drawn:
        seen, _ = abstract(scene, CONFIG)
        assert np.abs(seen.joints_mm[..., 2].min(1) - 85).max(initial=0) < 90  # ankles
        assert (seen.joints_mm[:, ROOT, 2] > 600).all()
        camera, joints = scene.camera, scene.joints
        pixels = joints[..., :2] / joints[..., 2:] * camera.fx + (camera.cx, camera.cy)
        # half a pixel: the networks' images have their middle at size / 2
        np.testing.assert_allclose(projected_cells(scene), pixels / 4 - 0.5, atol=0.02)
        assert (scene.heatmaps >= 0).all() and (scene.heatmaps <= 1).all()


def test_scenes_are_the_same_for_the_same_seed():
    for one, other in zip(scenes(3), scenes(3), strict=True):
        np.testing.assert_array_equal(one.heatmaps, other.heatmaps)
        np.testing.assert_array_equal(one.joints, other.joints)


def test_most_joints_leave_a_trace_in_the_heatmaps_and_faults_exist():
    heat = []
    for scene in scenes(30):
        nearest = np.rint(projected_cells(scene)).astype(int)
        for cells in nearest:
            for joint, (x, y) in enumerate(cells):
                if 2 <= x < 110 and 2 <= y < 62:
                    heat.append(scene.heatmaps[joint, y - 2 : y + 3, x - 2 : x + 3].max())
    assert np.mean(np.array(heat) > 0.15) > 0.7
    assert np.mean(np.array(heat) < 0.15) > 0.02


def test_a_mirrored_scene_is_seen_mirrored():
    scene = scenes(1)[0]
    twin = scene.mirrored()
    expected = projected_cells(scene)[:, MPI15.flip]
    expected[..., 0] = 111 - expected[..., 0]
    np.testing.assert_allclose(projected_cells(twin), expected, atol=0.02)
    left = MPI15.index("l_wrist")
    np.testing.assert_array_equal(
        twin.heatmaps[left], scene.heatmaps[MPI15.index("r_wrist")][:, ::-1]
    )
    one, other = abstract(scene, CONFIG)[0], abstract(twin, CONFIG)[0]
    np.testing.assert_allclose(other.joints_mm, one.joints_mm[:, MPI15.flip] * (1, -1, 1), atol=0.5)


def test_scenes_without_anybody_train_without_failing():
    nobody = RandomScenes(STANDING[None], CONFIG, people=(0, 0)).draw(np.random.default_rng(0))
    maps, _, truth = collate([nobody, nobody], CONFIG)
    assert maps.shape == (2, 15, 64, 112)
    assert not truth.people.any() and not truth.root_cube.any()


class AnyHeat:
    """An engine whose heatmaps are the same everywhere."""

    def run(self, inputs):
        return {"heatmap_2d": np.full((1, 15, 32, 40), 0.5, np.float32)}

    def close(self):
        pass


def test_rendered_scenes_show_who_can_be_seen_and_need_a_floor(tmp_path, monkeypatch):
    """Shards of `data convert shards` have neither pixels nor a floor."""
    numbers = np.array([body(-0.5), body(0.6)])
    one, other, none = (rendered(numbers) for _ in range(3))
    for person in one["people"]:
        del person["pixels"]
    other["people"][0]["pixels"] = 0
    del none["floor"]
    seen = [(labels, picture(numbers)) for labels in (one, other)]
    config = VirtualPoseConfig(joints=15, image_size=(160, 120), map_size=(40, 32))
    made = []
    monkeypatch.setattr(
        "smap_train.data.level_scenes.create_engine", lambda _: made.append(AnyHeat()) or made[0]
    )
    source = SeenScenes([write_shard(tmp_path / "good", seen)], "smap_lite", config, 10)
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(20)]
    assert {len(found.joints) for found in drawn} == {1, 2}
    made.clear()
    folder = write_shard(tmp_path / "bad", [*seen, (none, picture(numbers))])
    words = "sample 000002: it states no floor; expected shards of `smap-train synth`"
    with pytest.raises(InputError, match=words):
        SeenScenes([folder], "smap_lite", config, 10)
    assert not made  # the backbone has not begun
    left = SeenScenes([folder], "smap_lite", config, 10, "skip", tmp_path / "skipped.jsonl")
    assert len(left) == 2 and "states no floor" in (tmp_path / "skipped.jsonl").read_text()
    alone = write_shard(tmp_path / "alone", [(none, picture(numbers))])
    with pytest.raises(InputError, match=r"no scene of .*alone can be used"):
        SeenScenes([alone], "smap_lite", config, 10, "skip")


# the network and its training


def test_the_lite_network_needs_heatmaps_only_and_finds_candidates():
    network = create("virtualpose_lite").eval()
    assert sum(p.numel() for p in network.parameters()) < 2.6e6
    maps, cameras, truth = collate(scenes(2), network.config)
    with torch.inference_mode():
        outputs = network(maps, cameras)
    assert outputs["pred"].shape == (2, 8, 15, 5)
    assert outputs["root_cubes"].shape == (2, 40, 40, 8) == truth.root_cube.shape
    assert outputs["sides"].shape == (2, 4, 64, 112)


def test_roots_are_displaced_along_the_ray_most():
    random = torch.Generator().manual_seed(0)
    roots = torch.tensor([[0.0, 0.0, 900.0]]).expand(4000, 3)
    camera = torch.tensor([[9000.0, 0.0, 900.0]]).expand(4000, 3)
    spread = (displaced(roots, camera, torch.randn(4000, 4, generator=random)) - roots).std(0)
    assert spread[0] == pytest.approx(math.hypot(110, 0.04 * 9000), rel=0.05)
    assert spread[1] == pytest.approx(110, rel=0.05) == spread[2]


def test_training_learns_where_people_and_joints_are():
    """Steps on one batch that get smaller: the last ones of full size would end anywhere."""
    torch.manual_seed(0)
    config, steps, rate = config_of(steps=100), 60, 0.005
    recipe = VirtualPoseLiteRecipe(config)
    network = recipe.network().train()
    batch = recipe.collate()(scenes(3, recipe.settings))
    optimizer = torch.optim.Adam(network.parameters(), rate)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    history = []
    for _ in range(steps):
        terms = recipe.losses(network, batch, 0)
        loss = terms["depth"] / 1000 + 300 * terms["cube"] + terms["joints"] / 100
        optimizer.zero_grad()
        (loss + terms["sides"] / 10).backward()
        optimizer.step()
        falling.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    for name, share in {"cube": 0.5, "depth": 0.8, "sides": 0.8, "joints": 0.5}.items():
        assert history[-1][name] < share * history[0][name], name


def test_the_rate_rises_stays_and_falls_to_nothing():
    config = config_of(steps=100, warmup=10, cooldown=0.4)
    rates = [config.rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:60] == pytest.approx([1.0] * 51)
    assert rates[80] == pytest.approx(0.5) and rates[100] == 0
    assert config_of(steps=5, warmup=0, cooldown=0).rate(4) == 1.0
    config = config_of(steps=100, warmup=0, cooldown=0, drops=[0.6, 0.9], drop_factor=0.1)
    rates = [config.rate(step) for step in (59, 60, 90)]
    assert rates == pytest.approx([1, 0.1, 0.01])


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path):
    """Two short runs through Lightning."""
    settings = {"network": SMALL, "poses": 20, "batch_size": 2, "steps": 4, "threads": 1}
    common = {**settings, "checkpoint_every": 2, "people": 4}
    whole = load_model(train(VirtualPoseLiteRecipe(config_of(out=tmp_path / "whole", **common))))
    parts = VirtualPoseLiteRecipe(config_of(out=tmp_path / "parts", **common))
    train(parts, stop_after=2)
    path = train(parts)
    resumed = load_model(path)
    assert resumed.config == whole.config
    for (name, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)
    record = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert record["config"]["steps"] == 4 and len(record["data_hash"]) == 64
    assert list((tmp_path / "parts").glob("events.out.tfevents.*"))


RUN = "{recipe: virtualpose_lite, out: runs, steps: 10"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("{recipe: virtualpose_lite, steps: 10}", [], "out: Field required"),
        (
            f"{RUN}, step: 3}}",
            [],
            "step: Extra inputs are not permitted",
        ),
        (
            f"{RUN}}}",
            ["steps"],
            "not of the form key=value",
        ),
        (
            f"{RUN}}}",
            ["steps=0"],
            "steps: Input should be greater than 0",
        ),
        ("[", [], "can't read the configuration"),
        ("[1]", [], "is list; expected key: value lines"),
        ("{out: runs, steps: 10}", [], "names no recipe"),
        ("{recipe: smap_huge}", [], "recipe 'smap_huge' is unknown; expected one of .*smap_lite"),
    ],
)
def test_configurations_are_refused_by_name(tmp_path, text, overrides, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        open_recipe(path, overrides)


def test_people_close_to_each_other_are_two_candidates():
    network = create("virtualpose_lite")
    cube = torch.zeros(1, 40, 40, 8)
    cube[0, 20, 20, 4], cube[0, 22, 20, 4] = 0.9, 0.8
    _, scores = network.REN.peaks(cube)
    assert (scores > 0.5).sum() == 2
    official = create("virtualpose_lite", peak_bins=5)
    assert (official.REN.peaks(cube)[1] > 0.5).sum() == 1


def test_an_unknown_option_of_the_network_is_refused():
    with pytest.raises(InputError, match="widening"):
        create("virtualpose_lite", widening=[5, 2])
    with pytest.raises(InputError, match="voxels"):
        create("virtualpose_lite", voxels=3)


# the bundle


@pytest.fixture(scope="module")
def lite_bundle(tmp_path_factory):
    """A small one from ``smap-train export``; three exports of some seconds each."""
    folder = tmp_path_factory.mktemp("lite")
    torch.manual_seed(0)
    network = create("virtualpose_lite", **SMALL)
    torch.nn.init.constant_(network.REN.v2v_net.output_layer.bias, 0.5)  # people everywhere
    save_checkpoint(folder / "vp.pth", "virtualpose_lite", network.state_dict(), **SMALL)
    save_checkpoint(folder / "smap.pth", "smap_lite", create("smap_lite").state_dict())
    words = [
        "export",
        folder / "vp.pth",
        folder / "vp",
        "--half",
        "--backbone",
        folder / "smap.pth",
    ]
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return load_bundle(folder / "vp")


def test_the_bundle_says_how_its_maps_are_and_runs_where_the_camera_is_mounted(lite_bundle):
    manifest = lite_bundle.manifest
    assert manifest.outputs["maps"].shape == (1, 15, 16, 24)
    assert (manifest.joints, manifest.box_maps, manifest.centred) == (15, False, True)
    assert manifest.merge_distance == 0.3
    assert manifest.input.mean == pytest.approx((0.5,) * 3)
    estimator = create_estimator(lite_bundle, "onnxruntime", threads=1, min_score=0.0)
    try:
        image = np.random.default_rng(0).integers(0, 255, (128, 192, 3), np.uint8)
        camera = Camera.from_fov(192, 128, math.radians(70))
        low = dataclasses.replace(camera, mounting=Mounting(0.5))
        high = dataclasses.replace(camera, mounting=Mounting(2.0, 0.4))
        frames = [estimator.estimate(image, view) for view in (low, high, low)]
    finally:
        estimator.close()
    assert all("roots" in frame.timings_ms for frame in frames)
    joints = [np.array([body.joints_3d for body in frame]) for frame in frames]
    np.testing.assert_array_equal(joints[0], joints[2])
    assert len(joints[0]) and not np.array_equal(joints[0], joints[1])


def test_a_backbone_of_another_kind_is_refused(tmp_path):
    network = create("virtualpose_lite", **SMALL)
    save_checkpoint(tmp_path / "vp.pth", "virtualpose_lite", network.state_dict(), **SMALL)
    words = ["export", tmp_path / "vp.pth", tmp_path / "out", "--backbone", tmp_path / "vp.pth"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    with pytest.raises(InputError, match="holds a VirtualPoseLite; expected a SmapLite"):
        raise result.exception
