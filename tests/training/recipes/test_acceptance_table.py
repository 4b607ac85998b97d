"""The table in docs/training.md tells what the tests hold, of every recipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smap_train.recipes.registry import RECIPES, recipe_class

from .test_acceptance import WITH_BUNDLE
from .test_two_ranks import RECIPES as TWO_RANKS
from .tiny import TINY

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests" / "training"


def table() -> dict[str, list[str]]:
    """Cells of each recipe's row."""
    text = (ROOT / "docs" / "training.md").read_text()
    part = text.split("## What is held by tests")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_every_recipe_has_a_row():
    assert set(table()) == set(RECIPES)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_row_is_true(name):
    """Its files exist and name the recipe; `test_acceptance` runs it where the row says so."""
    data, learns, two, runs = table()[name]
    for file in re.findall(r"`([\w/]+\.py)`", " ".join((data, learns, two, runs))):
        assert (TESTS / file).is_file(), file
    assert ("`test_acceptance`" in learns) == (name in TINY)
    assert ("`test_acceptance`" in runs) == (name in WITH_BUNDLE)
    assert (runs == "part of a bundle") == (not recipe_class(name).bundle_kind)
    assert ("`test_two_ranks`" in two) == (name in TWO_RANKS)
