"""RefineNet's recipe: the official file of pairs, its inputs and targets, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.engine.sampling import BadRecordError
from smap_train.engine.trainer import train
from smap_train.models.checkpoint import load_checkpoint, load_model
from smap_train.recipes.refinenet import RefineNetConfig, RefineNetRecipe
from smap_train.recipes.registry import open_recipe

from .pairs import ROOT, pair

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recipe(folder: Path, *pairs: dict, **settings) -> RefineNetRecipe:
    path = folder / "pairs.json"
    if pairs or not path.exists():
        made = list(pairs) or [pair(k) for k in range(40)]
        path.write_text(json.dumps({"model_pattern": "MIX", "3d_pairs": made}))
    return RefineNetRecipe(RefineNetConfig(**{
        "out": folder / "run", "pairs": path, "steps": 30, "batch_size": 16, "workers": 0,
        "threads": 1, **settings,
    }))  # fmt: skip


def test_inputs_and_targets_are_the_official_ones(tmp_path):
    entry = pair(1)
    made = recipe(tmp_path, entry)
    sample = made.sample(made.dataset().groups[0][0].records[0], np.random.default_rng(0))
    rows = np.concatenate([np.array(entry["pred_2d"])[:, :2], np.array(entry["pred_3d"])[:, :3]], 1)
    expected = rows - rows[ROOT]
    expected[ROOT] = rows[ROOT]
    expected[6] = 0  # missing
    np.testing.assert_allclose(sample["input"].reshape(15, 5), expected, rtol=1e-5, atol=1e-4)
    true = np.array(entry["gt_3d"])
    np.testing.assert_allclose(
        sample["target"].reshape(15, 3), true - true[ROOT], rtol=1e-5, atol=1e-4
    )


def test_it_learns_resumes_to_the_bit_and_is_measured(tmp_path):
    made = recipe(tmp_path, held_out=tmp_path / "pairs.json", validate_every=10)
    batch = torch.utils.data.default_collate([made.dataset()[k] for k in range(16)])
    torch.manual_seed(0)
    before = made.losses(made.network(), batch, 0)["square"].item()
    weights = train(made)
    after = made.losses(load_model(weights).train(), batch, 0)["square"].item()
    assert after < 0.5 * before, (before, after)
    measures = [json.loads(x) for x in (tmp_path / "run/measures.jsonl").read_text().splitlines()]
    assert [m["step"] for m in measures] == [10, 20, 30]
    assert 0 < measures[-1]["distance_cm"] < 60
    halves = recipe(tmp_path, out=tmp_path / "halves")
    train(halves, stop_after=15)
    resumed = load_checkpoint(train(halves))["state_dict"]
    for name, value in load_checkpoint(weights)["state_dict"].items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_the_rate_halves_every_thirty_epochs(tmp_path):
    made = open_recipe(CONFIGS / "refinenet.yaml", ["steps=2000"])  # ten steps an epoch
    rates = [made.config.rate(step) for step in (0, 299, 300, 600, 1799, 1800, 1999)]
    assert rates == [1, 1, 0.5, 0.25, 0.5**5, 0.5**6, 0.5**6]
    optimizer = made.optimizer(made.network().parameters())
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.08, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gt_3d": [[0, 0, float("nan")]] * 15}, r"gt_3d\[0\]\[2\] is nan; expected a number"),
        ({"gt_3d": [[0, 0, 1e30]] * 15}, r"gt_3d\[0\]\[2\] is 1e\+30"),
        ({"pred_3d": [[0, 0, 300, 1]] * 14}, r"pred_3d has the shape \(14, 4\); expected \(15, 4"),
        ({"pred_2d": "none"}, "pred_2d isn't 15 x 4 numbers"),
    ],
)
def test_a_bad_pair_is_named(tmp_path, fields, message):
    made = recipe(tmp_path, pair(0), pair(1), pair(2, **fields))
    with pytest.raises(BadRecordError, match=rf"pairs.json, record 2: {message}"):
        [made.dataset()[k] for k in range(3)]


def test_millimetres_and_other_files_are_refused(tmp_path):
    wrong = (10 * np.array(pair(0)["gt_3d"])).tolist()
    with pytest.raises(InputError, match="expected centimetres"):
        recipe(tmp_path, pair(0, gt_3d=wrong)).dataset()
    (tmp_path / "pairs.json").write_text('{"root": []}')
    with pytest.raises(InputError, match="no records under the key '3d_pairs'"):
        recipe(tmp_path).dataset()
    with pytest.raises(InputError, match="set pairs to"):
        recipe(tmp_path, pairs=None).dataset()
