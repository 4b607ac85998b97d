"""MAED's recipe: pictures and clips in one batch, stage 1's encoder, its schedule."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.losses.maed import maed_losses
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.layers.smpl import PARENTS
from smap_train.models.layers.smpl_files import EXTRA_FILE
from smap_train.models.maed.body import EXTRA_ROWS
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


NETWORK = {"image_size": 32, "width": 24, "depth": 1, "heads": 3, "blocks": (1, 1, 1)}


def test_a_named_body_counts_whatever_the_weights_hold(tmp_path):
    stand_in, folder = synthetic_body(), tmp_path / "smpl"
    folder.mkdir()
    np.savez(
        folder / "SMPL_NEUTRAL.npz",
        v_template=2 * stand_in.v_template,
        shapedirs=stand_in.shapedirs,
        posedirs=stand_in.posedirs,
        J_regressor=stand_in.joint_regressor,
        weights=stand_in.weights,
        f=stand_in.faces,
        kintree_table=np.array([PARENTS, range(24)]),
    )
    np.save(folder / EXTRA_FILE, synthetic_regressor("other", EXTRA_ROWS))

    def body(**changes):
        return tiny("maed", tmp_path, **changes).network().decoder.smpl

    first = tiny("maed", tmp_path)
    weights = first.network().state_dict()
    unset = {k: torch.full_like(v, torch.nan) for k, v in weights.items() if k.endswith("template")}
    own = torch.tensor(2 * stand_in.v_template).float()
    for number, held in enumerate((weights, {**weights, **unset})):
        initial = tmp_path / f"{number}.pth"
        save_checkpoint(initial, "maed", held, **first.options)
        torch.testing.assert_close(body(initial=initial, smpl=folder).v_template, own)
        torch.testing.assert_close(body(initial=initial).v_template, own / 2)
    real = {**weights, "decoder.smpl.v_template": own}
    save_checkpoint(tmp_path / "real.pth", "maed", real, **first.options)
    torch.testing.assert_close(body(initial=tmp_path / "real.pth").v_template, own)


@pytest.mark.parametrize("mode", ["vanilla", "series", "parallel"])
def test_stage_two_takes_the_encoder_of_any_mode(tmp_path, mode):
    weights = create("maed", mode=mode, **NETWORK).state_dict()
    save_checkpoint(tmp_path / "maed.pth", "maed", weights, mode=mode, **NETWORK)
    own = tiny("maed", tmp_path, encoder=tmp_path / "maed.pth").network().state_dict()
    for name, value in weights.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(own[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("network", "prefix", "message"),
    [
        ({"depth": 1}, "", r"missing:\n  encoder\.blocks\.1\.norm1\.weight \[24\]"),
        ({"depth": 3}, "", r"unexpected:\n  encoder\.blocks\.2\.norm1\.weight \[24\]"),
        ({"width": 12}, "", r"encoder\.cls_token: got \[1, 1, 12\], expected \[1, 1, 24\]"),
        ({"image_size": 64}, "", r"1 wrong shape:\n  encoder\.pos_embed: got \[1, 17, 24\]"),
        ({}, "backbone.", r"unexpected:\n  backbone\.encoder\.cls_token"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(tmp_path, network, prefix, message):
    options = {"mode": "vanilla", **NETWORK, "depth": 2, **network}
    weights = create("maed", **options).state_dict()
    renamed = {f"{prefix}{k}" if k.startswith("encoder.") else k: v for k, v in weights.items()}
    save_checkpoint(tmp_path / "maed.pth", "maed", renamed, **options)
    second = tiny("maed", tmp_path, network={**NETWORK, "depth": 2}, encoder=tmp_path / "maed.pth")
    with pytest.raises(InputError, match=message) as caught:
        second.network()
    assert "set network as in stage 1" in str(caught.value)
    assert "decoder" not in str(caught.value) and "temp_embed" not in str(caught.value)


def test_the_encoder_of_another_network_is_refused(tmp_path):
    weights = create("refinenet").state_dict()
    save_checkpoint(tmp_path / "refinenet.pth", "refinenet", weights)
    second = tiny("maed", tmp_path, encoder=tmp_path / "refinenet.pth")
    with pytest.raises(InputError, match=r"holds model 'refinenet'; set encoder to the maed\.pth"):
        second.network()


@pytest.mark.parametrize(("share", "level"), [(0.45, logging.WARNING), (0.55, logging.INFO)])
def test_it_is_told_how_much_of_others_weights_was_taken(tmp_path, caplog, share, level):
    made = tiny("maed", tmp_path, vit=tmp_path / "vit.pth")
    weights = create("maed", **NETWORK).encoder.state_dict()
    taken = round(share * len(weights))
    named = {k if j < taken else f"x.{k}": v + 1 for j, (k, v) in enumerate(weights.items())}
    torch.save(named, tmp_path / "vit.pth")
    with caplog.at_level(logging.INFO):
        own = made.network().encoder.state_dict()
    assert sum(torch.equal(own[k], v + 1) for k, v in weights.items()) == taken
    (record,) = caplog.records
    assert record.levelno == level
    told = f"{taken} of {len(weights)} weights are taken from {tmp_path / 'vit.pth'}, which has"
    assert told in record.getMessage()
    first = list(weights)[taken]
    assert (f"such as {first}, begin anew" in record.getMessage()) == (level == logging.WARNING)


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


@pytest.mark.parametrize(
    ("words", "window"), [(["frames=4"], 4), (["frames=4", "mode=vanilla"], 1)]
)
def test_the_bundle_looks_at_as_many_images_as_were_learned_from(words, window):
    made = open_recipe(CONFIGS / "maed_tiny.yaml", words)
    assert made.export_options(made.config)["settings"] == {"window": window}


@pytest.mark.parametrize(("mode", "window"), [("parallel", 4), ("vanilla", 1)])
def test_options_of_the_network_say_how_many_images_it_looks_at(mode, window):
    """They come before the recipe's own ``mode``, as they do where the network is built."""
    other = {"parallel": "vanilla", "vanilla": "parallel"}[mode]
    words = ["frames=4", f"mode={other}", f"network.mode={mode}"]
    made = open_recipe(CONFIGS / "maed_tiny.yaml", words)
    assert made.options["mode"] == mode
    assert made.export_options(made.config)["settings"] == {"window": window}


def test_held_out_people_are_measured(tmp_path):
    made = tiny("maed", tmp_path, held_out=[tmp_path / "virtual"])
    network = made.network().eval()
    with torch.no_grad():
        measured = made.evaluate(network, 3)
    assert 10 < measured["pa_mpjpe_mm"] < 1000
