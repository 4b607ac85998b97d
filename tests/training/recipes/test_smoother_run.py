"""The smoother's recipe: films in, a network that learns, resumes and is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.engine.trainer import train
from smap_train.models.checkpoint import load_checkpoint, load_model
from smap_train.models.smoother.tracks import ROOT
from smap_train.recipes.registry import open_recipe
from smap_train.recipes.smoother import SmootherRecipe, SmootherRunConfig
from tests.training.test_smoother import film_of_two, shaky_film

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.fixture
def films(tmp_path):
    """Sixteen films whose detector pulls everybody's left arm to the body, and trembles."""
    folder = tmp_path / "films"
    folder.mkdir()
    for k in range(16):
        shaky_film(k).save(folder / f"shard-{k:05d}.npz")
    return folder


def recipe(folder: Path, **settings) -> SmootherRecipe:
    return SmootherRecipe(SmootherRunConfig(**{
        "out": folder.parent / "run", "films": folder, "steps": 30, "batch_size": 4, "workers": 0,
        "threads": 1, "warmup": 5, "length": 12, "held_every": 4, **settings,
    }))  # fmt: skip


@pytest.mark.parametrize("kind", ["maed", "mlp"])
def test_it_learns_resumes_to_the_bit_and_is_measured(films, kind):
    made = recipe(films, kind=kind, validate_every=10)
    batch = torch.utils.data.default_collate([made.dataset()[k] for k in range(16)])
    torch.manual_seed(0)
    before = made.losses(made.network().eval(), batch, 0)["pose"].item()
    weights = train(made)
    network = load_model(weights)
    after = made.losses(network.eval(), batch, 0)["pose"].item()
    assert after < 0.9 * before, (before, after)
    lines = (films.parent / "run/measures.jsonl").read_text().splitlines()
    measures = [json.loads(line) for line in lines]
    assert [m["step"] for m in measures] == [10, 20, 30]
    assert 5 < measures[-1]["raw_mpjpe_mm"] < 60 and measures[-1]["delay2_mpjpe_mm"] > 0
    halves = recipe(films, kind=kind, out=films.parent / "halves")
    train(halves, stop_after=15)
    resumed = load_checkpoint(train(halves))["state_dict"]
    for name, value in load_checkpoint(weights)["state_dict"].items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_it_starts_from_what_another_run_learned(films):
    trained = train(recipe(films))
    start = load_checkpoint(trained)["state_dict"]
    network = recipe(films, initial=trained, learning_rate=1e-3).network()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, start[name], rtol=0, atol=0)
    with pytest.raises(InputError, match="doesn't fit this network"):
        recipe(films, initial=trained, kind="mlp").network()


def test_held_out_films_are_not_learned_from(films):
    made = recipe(films)
    held, learned = made._films(held=True), made._films(held=False)
    assert held and learned and not set(held) & set(learned)
    assert len(held) + len(learned) == 16


def test_measuring_without_held_out_films_is_refused_at_the_start(films):
    with pytest.raises(InputError, match="validate_every is 5, but held_every=1000 holds out no"):
        train(recipe(films, held_every=1000, validate_every=5))
    assert not (films.parent / "run").exists()


def test_films_of_two_detectors_and_none_are_refused(films):
    replace(film_of_two(), detector="cd" * 32).save(films / "shard-00099.npz")
    with pytest.raises(InputError, match="films of 2 detectors"):
        recipe(films, held_every=1000).dataset()
    with pytest.raises(InputError, match="set films to"):
        recipe(films, films=None).dataset()


@torch.no_grad()
def test_joints_that_the_detector_left_out_are_no_errors_of_what_it_found(tmp_path):
    """A detector that is right to the millimetre, of all joints or of those that it sees."""
    films = tmp_path / "films"
    films.mkdir()
    film = film_of_two()
    off = film.joints_3d + np.float32([0.003, 0, 0]) * (np.arange(15) == 5)[:, None]
    raw = []
    for hidden in ((), (8, 11), [k for k in range(15) if k not in (ROOT, 5)]):
        joints, scores = off.copy(), film.scores.copy()
        joints[:, list(hidden)], scores[:, list(hidden)] = np.nan, 0
        for k in range(16):
            replace(film, joints_3d=joints, scores=scores).save(films / f"shard-{k:05d}.npz")
        made = recipe(films)
        measured = made.evaluate(made.network().eval(), 2)
        raw.append({k: v for k, v in measured.items() if k.startswith("raw")})
        assert measured["delay2_mpjpe_mm"] > 10  # untrained
    assert [one["raw_mpjpe_mm"] for one in raw] == pytest.approx([3 / 15, 3 / 13, 3 / 2], rel=1e-3)
    assert all(one["raw_acceleration_mm"] < 0.01 for one in raw)


@torch.no_grad()
def test_pictures_of_nothing_but_a_pelvis_are_no_measure_of_what_was_found(tmp_path):
    """A pelvis about itself has no error."""
    films = tmp_path / "films"
    films.mkdir()
    film = film_of_two()
    joints, scores = film.joints_3d.copy(), film.scores.copy()
    joints[:, 5, 0] += 0.003
    rows = np.arange(len(joints)) % 8 < 2  # of every fourth picture, both people
    bare = np.ix_(rows, [k for k in range(15) if k != ROOT])
    joints[bare], scores[bare] = np.nan, 0
    for k in range(16):
        replace(film, joints_3d=joints, scores=scores).save(films / f"shard-{k:05d}.npz")
    made = recipe(films)
    measured = made.evaluate(made.network().eval(), 2)
    assert measured["raw_mpjpe_mm"] == pytest.approx(3 / 15, rel=1e-3)
    assert measured["raw_acceleration_mm"] < 0.01


def test_the_shipped_configurations_are_this_recipes():
    for name in ("smoother", "smoother_tiny"):
        assert isinstance(open_recipe(CONFIGS / f"{name}.yaml"), SmootherRecipe)
