"""Two gloo processes learn what one with the double batch learns, recipe by recipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from smap_train.engine.trainer import start
from smap_train.models.checkpoint import load_checkpoint

from .tiny import FURTHER, TINY
from .two_ranks import chosen, trained

ROOT = Path(__file__).parents[3]
RECIPES = [*TINY, *FURTHER]
# How far the weights may differ, as a share of what was learnt. Gradients are added up in another
# order; Adam makes a whole step of one that is nothing but rounding.
TOLERANCE = 0.002


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Folders of the data, of one process's runs and of two processes' runs; a process pair does
    all recipes, for importing torch takes longer than a run.
    """
    folder, one, two = (tmp_path_factory.mktemp(name) for name in ("data", "one", "two"))
    for name in RECIPES:
        (folder / name).mkdir()
        trained(name, folder, one)
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
            "-m", "tests.training.recipes.two_ranks", str(folder), str(two), *RECIPES,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, one, two


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Between all weights of a network."""
    return float(torch.stack([(one[k] - other[k]).double().norm() for k in one]).norm())


@pytest.mark.slow  # twelve recipes in a pair of processes
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_learn_what_one_with_the_double_batch_does(name, runs):
    folder, *places = runs
    alone, shared = (
        load_checkpoint(next((place / name).glob("*.pth")))["state_dict"] for place in places
    )
    recipe = chosen(name, folder, places[0])
    start(recipe.config)
    before = recipe.network().state_dict()
    learnt = distance(alone, before)
    assert learnt > 0
    assert distance(alone, shared) < TOLERANCE * learnt
    devices = [json.loads((p / name / "run.json").read_text())["devices"] for p in places]
    assert devices == [1, 2]
