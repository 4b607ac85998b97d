"""Trains recipes on their tiny settings, some steps of each: in this process, or under torchrun.

A program: ``two_ranks.py FOLDER OUT RECIPE...`` reads data in FOLDER/RECIPE and trains into
OUT/RECIPE. What depends on who shares a device is fixed, so that two devices can do what one does:
batch norms keep their statistics (`sync_bn` needs GPUs), and nothing is dropped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn

from smap_train.engine.trainer import train
from smap_train.recipes.base import Recipe
from tests.training.recipes.tiny import shards, tiny

BUNDLES = Path(__file__).parents[3] / "models"
# Whose 3D convolutions are rounded by more than the tolerance: equal shows in double precision.
DOUBLE = {"virtualpose_lite"}
# A teacher of so few pictures that a device may have none of a step's.
TAUGHT = {
    "backbone": "movenet", "initial": BUNDLES / "smap_lite", "teacher": BUNDLES / "smap_lite",
    "necks": True, "frozen_norms": True, "ordinary_share": 0.25,
}  # fmt: skip
STEPS = 2
BATCH_SIZE = 4  # in all


def fixed(recipe: Recipe[Any]) -> Recipe[Any]:
    """The recipe with batch norms that don't look at the batch, and networks that draw nothing."""
    made = recipe.network

    def network() -> nn.Module:
        built = made()
        for layer in built.modules():
            drops = isinstance(layer, nn.Dropout | nn.Dropout3d) or "Drop" in type(layer).__name__
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) or drops:
                layer.eval()
                layer.train = lambda mode=True, layer=layer: layer
        return built

    recipe.network = network
    return recipe


def chosen(name: str, folder: Path, out: Path) -> Recipe[Any]:
    """A recipe on tiny settings: its data in ``folder / name``, its run in ``out / name``."""
    settings = {"steps": STEPS, "batch_size": BATCH_SIZE, "warmup": 0, "ema_decay": 0.5}
    if name in DOUBLE:
        settings["precision"] = "64-true"
    if name == "smap_lite":
        settings |= {**TAUGHT, "ordinary": [shards(folder / name)]}
    return tiny(name, folder / name, out=out / name, **settings)


def trained(name: str, folder: Path, out: Path) -> None:
    """A recipe's run of some steps."""
    train(fixed(chosen(name, folder, out)))


if __name__ == "__main__":
    for recipe in sys.argv[3:]:
        trained(recipe, Path(sys.argv[1]), Path(sys.argv[2]))
