"""MAED's recipe: pictures and clips in one batch, stage 1's encoder, its schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from smap_train.losses.maed import maed_losses
from smap_train.models.checkpoint import save_checkpoint
from smap_train.recipes.maed import by_length
from smap_train.recipes.registry import open_recipe

from ..data.test_tracks import database
from .tiny import tiny

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def test_pictures_and_clips_come_in_their_shares_and_count_by_their_frames(tmp_path):
    made = tiny("maed", tmp_path)
    mixture = made.dataset()
    assert [g[0].name for g in mixture.groups] == ["virtual people", "virtual films"]
    assert mixture.counts[0] / mixture.counts.sum() == pytest.approx(7 / 11, abs=1e-3)
    batch = by_length([mixture[k] for k in range(8)])
    assert [part["clip"].shape[1] for part in batch] == [1, 2]
    network = made.network().eval()
    terms = made.losses(network, batch, 0)
    frames = [part["clip"].shape[0] * part["clip"].shape[1] for part in batch]
    alone = [maed_losses(network(part["clip"]), part) for part in batch]
    for name, value in terms.items():
        mean = sum(n * one[name] for n, one in zip(frames, alone, strict=True)) / sum(frames)
        torch.testing.assert_close(value, mean)


def test_databases_are_pictures_or_videos(tmp_path):
    data = {"database": database(tmp_path), "images": tmp_path}
    made = tiny("maed", tmp_path, virtual=[], virtual_films=[], pictures=[data], clips_2d=[data])
    pictures, clips = (group[0] for group in made.dataset().groups)
    assert len(pictures.records) == 6 and len(clips.records) == 2
    sample = made.dataset()[0]
    assert sample["has_fit"].all() and sample["pose"].shape[-1] == 72
    assert made.files() == [data["database"]] * 2


def test_stage_two_takes_the_encoder_and_begins_the_decoder_anew(tmp_path):
    first = tiny("maed", tmp_path, mode="vanilla")
    weights = first.network().state_dict()
    save_checkpoint(tmp_path / "maed.pth", "maed", weights, **first.options)
    torch.manual_seed(5)
    own = tiny("maed", tmp_path, encoder=tmp_path / "maed.pth").network().state_dict()
    shared = [k for k in weights if k.startswith("encoder.") and k in own]
    assert shared
    assert all(torch.equal(own[name], weights[name]) for name in shared)
    assert "encoder.temp_embed" in own
    assert "encoder.temp_embed" not in weights
    assert not torch.equal(own["decoder.fc1.weight"], weights["decoder.fc1.weight"])


def test_the_official_schedule(tmp_path):
    made = open_recipe(CONFIGS / "maed.yaml", ["steps=1000"])
    rates = [made.config.rate(step) for step in (0, 599, 600, 899, 900, 999)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    optimizer = made.optimizer([torch.nn.Parameter(torch.zeros(2))])
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-4, 1e-5)


@pytest.mark.parametrize("name", ["maed", "maed_clips", "maed_tiny", "maed_virtual"])
def test_the_configurations_are_accepted(name):
    config = open_recipe(CONFIGS / f"{name}.yaml").config
    assert config.pictures or config.virtual
    assert (config.mode == "vanilla") == (name == "maed")


def test_held_out_people_are_measured(tmp_path):
    made = tiny("maed", tmp_path, held_out=[tmp_path / "virtual"])
    network = made.network().eval()
    with torch.no_grad():
        measured = made.evaluate(network, 3)
    assert 10 < measured["pa_mpjpe_mm"] < 1000
