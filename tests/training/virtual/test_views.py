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
from smap_train.virtual.scene import Stills
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


@pytest.mark.parametrize("name", ["near", "far", "turned", "empty"])
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
    for young in ("empty_share", "statue_share"):
        del settings[young]
    for young in ("first", "aim", "turned_share"):
        del settings["camera"][young]
    note.write_text(json.dumps(settings))
    claim_folder(config)
