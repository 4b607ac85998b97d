"""Near, far, turned and empty scenes, and the parts of the test set made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import smap_train
from smap_ros.camera import Camera
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.virtual.cameras import first_distance, random_view
from smap_train.virtual.config import CameraSettings, StillsConfig, held_out, load_config
from smap_train.virtual.lookalikes import THINGS, places_for
from smap_train.virtual.parts import Material
from smap_train.virtual.scene import Stills
from smap_train.virtual.shapes import rod
from smap_train.virtual.shards import claim_folder

from .conftest import SMALL

CONFIGS = Path(smap_train.__file__).parent / "virtual" / "configs"


def made(stills: Stills, count: int, **settings: object) -> list[dict]:
    """Truths of some pictures with these settings, in the studio of the others."""
    config = StillsConfig(**SMALL, people=(1, 2), **settings)
    maker = Stills(config, stills.studio)
    return [maker.sample(k).truth for k in range(count)]


def test_the_first_person_is_as_far_as_asked_for(stills: Stills) -> None:
    camera = CameraSettings(first=(20.0, 30.0), distance=(5.0, 40.0), fov_deg=(10.0, 20.0))
    depths = [p["joints_3d"][MPI15.root][2] for t in made(stills, 6, camera=camera)
              for p in t["people"]]  # fmt: skip
    assert depths and 15 < np.median(depths) < 35
    rng = np.random.default_rng(0)
    assert all(20 <= first_distance(camera, rng) <= 30 for _ in range(50))


def test_turned_cameras_roll_by_any_angle_and_others_stay_as_they_were() -> None:
    def rolls(share: float) -> list[float]:
        out = []
        for seed in range(30):
            rng = np.random.default_rng(seed)
            view = random_view(CameraSettings(turned_share=share), 160, 96, 3.0, rng)
            assert view.camera == Camera.from_fov(160, 96, 2 * np.arctan(80 / view.camera.fx))
            up = view.rotation @ (0, 0, 1)  # the world's up in the picture
            out.append(float(np.degrees(np.arctan2(up[0], -up[1]))))
        return out

    assert np.abs(rolls(0.0)).max() < 15
    assert np.ptp(rolls(1.0)) > 250


@pytest.mark.parametrize("height", [(2.6, 2.9), (3.5, 4.5), (0.05, 0.2), (0.3, 3.0)])
def test_cameras_are_at_all_heights_that_are_asked_for(height: tuple[float, float]) -> None:
    settings = CameraSettings(height=height)
    views = (random_view(settings, 160, 96, 3.0, np.random.default_rng(k)) for k in range(60))
    heights = np.array([view.eye[2] for view in views])
    low, high = height
    assert low <= heights.min() < low + 0.2 * (high - low)
    assert high - 0.2 * (high - low) < heights.max() <= high
    assert len(np.unique(heights)) == len(heights)


def test_nobody_is_in_empty_scenes_and_statues_are_nobody(stills: Stills) -> None:
    assert all(not truth["people"] for truth in made(stills, 3, empty_share=1.0))
    lively, petrified = made(stills, 4), made(stills, 4, statue_share=1.0)
    assert sum(len(truth["people"]) for truth in lively) >= 4
    assert all(not truth["people"] for truth in petrified)
    # The statue is there all the same: the picture is another than the room alone.
    config = StillsConfig(**SMALL, people=(1, 2), statue_share=1.0)
    statue = Stills(config, stills.studio).sample(0).rgb
    alone = Stills(config.model_copy(update={"empty_share": 1.0}), stills.studio).sample(0).rgb
    assert (statue != alone).any()


def test_things_that_look_like_people_are_seen_and_are_nobody(
    stills: Stills, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnished = Stills(
        StillsConfig(**SMALL, people=(1, 2), empty_share=1.0, lookalikes=(6, 6)), stills.studio
    )
    for k in range(3):
        with_them = furnished.sample(k)
        with monkeypatch.context() as patch:  # the same room without them
            patch.setattr("smap_train.virtual.scene.merged", lambda parts: [])
            without = furnished.sample(k)
        changed = np.abs(with_them.rgb.astype(int) - without.rgb).max(axis=2) > 24
        assert changed.mean() > 0.01
        assert not with_them.truth["people"] and not with_them.labels[changed].any()
    peopled = Stills(StillsConfig(**SMALL, people=(1, 2), lookalikes=(1, 3)), stills.studio)
    assert all(peopled.sample(k).truth["people"] for k in range(3))


@pytest.mark.parametrize("thing", sorted(set(THINGS), key=lambda thing: thing.__name__))
def test_each_of_them_stands_on_the_floor_within_reach(stills: Stills, thing) -> None:
    for seed in range(20):
        parts = thing(
            np.array([3.0, 5.0, 0.0]), stills.studio.textures, np.random.default_rng(seed)
        )
        points = np.concatenate([part.positions for part in parts])
        assert np.isfinite(points).all() and len(parts) >= 3
        assert -0.03 < points[:, 2].min() < 0.04 and 0.4 < points[:, 2].max() < 2.4
        assert np.abs(points[:, :2] - (3.0, 5.0)).max() < 1.1
        assert all(part.label == 0 and part.faces.max() < len(part.positions) for part in parts)


def test_they_stand_apart_from_people() -> None:
    view = random_view(CameraSettings(), 160, 96, 3.0, np.random.default_rng(1))
    spots = np.array([[0.0, 3.0], [0.5, 2.0]])
    places = places_for(200, view, spots, np.random.default_rng(2))
    assert 50 < len(places) <= 200
    assert np.linalg.norm(places[:, None] - spots, axis=2).min() >= 0.75
    assert places_for(0, view, spots, np.random.default_rng(2)).shape == (0, 2)


def test_a_rod_is_round_and_goes_from_end_to_end() -> None:
    start, end = np.array([1.0, 2.0, 0.1]), np.array([1.3, 1.9, 0.9])
    stick = rod(start, end, 0.02, Material())
    along = (end - start) / np.linalg.norm(end - start)
    at = (stick.positions - start) @ along
    assert np.allclose(np.sort(np.unique(at.round(4))), [0, np.linalg.norm(end - start)], atol=1e-3)
    away = stick.positions - start - at[:, None] * along
    assert np.allclose(np.linalg.norm(away, axis=1), 0.02, atol=1e-5)
    a, b, c = (stick.positions[stick.faces[:, k]] for k in range(3))
    outwards = np.cross(b - a, c - a)
    assert (np.einsum("nk,nk->n", outwards, stick.normals[stick.faces[:, 0]]) > 0).all()


@pytest.mark.parametrize("name", ["near", "far", "turned", "empty", "lookalikes"])
def test_held_out_scenes_share_nothing_with_training(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    assert isinstance(config, StillsConfig)
    kept = held_out(config)
    assert (config.motion_split, config.asset_split) == ("train", "train")
    assert (kept.motion_split, kept.asset_split) == ("held_out", "held_out")
    for seed in ("seed", "body_seed", "texture_seed"):
        assert getattr(kept, seed) >= 1000 > getattr(config, seed)
    test = load_config(CONFIGS / "test.yaml")
    assert (kept.body_seed, kept.texture_seed, kept.bodies) == (
        test.body_seed, test.texture_seed, test.bodies,
    )  # fmt: skip
    assert (kept.camera, kept.people) == (config.camera, config.people)


def test_only_stills_can_be_held_out(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["synth", str(CONFIGS / "sequences.yaml"), "--held-out", "--out", str(tmp_path / "a")]
    )
    assert isinstance(result.exception, BaseException)
    assert "--held-out is for stills" in str(result.exception) + result.output


def test_shards_that_are_older_than_a_setting_can_be_continued(tmp_path: Path) -> None:
    config = StillsConfig(**SMALL, out=tmp_path)
    claim_folder(config)
    note = tmp_path / "settings.json"
    settings = json.loads(note.read_text())
    for young in ("empty_share", "statue_share", "lookalikes"):
        del settings[young]
    for young in ("first", "aim", "turned_share"):
        del settings["camera"][young]
    note.write_text(json.dumps(settings))
    claim_folder(config)
