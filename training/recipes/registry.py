"""The recipes by name; each is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smap_ros.errors import InputError
from smap_train.engine.config import RunConfig
from smap_train.recipes.base import Recipe
from smap_train.settings import read_config, read_yaml

# name -> module and class; a new recipe adds a line.
RECIPES: dict[str, str] = {
    "smap": "smap_train.recipes.smap:SmapRecipe",
    "refinenet": "smap_train.recipes.refinenet:RefineNetRecipe",
    "refine_lite": "smap_train.recipes.refine_lite:RefineLiteRecipe",
    "mobilehuman": "smap_train.recipes.mobilehuman:MobileHumanRecipe",
    "crowdnet": "smap_train.recipes.crowdnet:CrowdNetRecipe",
    "hap_pretraining": "smap_train.recipes.hap_pretraining:HapPretrainingRecipe",
    "maed": "smap_train.recipes.maed:MaedRecipe",
    "smap_lite": "smap_train.recipes.smap_lite:SmapLiteRecipe",
    "virtualpose_backbone": ("smap_train.recipes.virtualpose_backbone:VirtualPoseBackboneRecipe"),
    "virtualpose_synthetic": (
        "smap_train.recipes.virtualpose_synthetic:VirtualPoseSyntheticRecipe"
    ),
    "virtualpose_lite": "smap_train.recipes.virtualpose_lite:VirtualPoseLiteRecipe",
    "second_look": "smap_train.recipes.second_look:SecondLookRecipe",
    "fusing": "smap_train.recipes.fusing:FusingRecipe",
    "smoother": "smap_train.recipes.smoother:SmootherRecipe",
}


def recipe_class(name: str) -> type[Recipe[Any]]:
    """The class of a recipe.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in RECIPES:
        raise InputError(
            f"recipe {name!r} is unknown; expected one of {', '.join(sorted(RECIPES))}"
        )
    module, _, attribute = RECIPES[name].partition(":")
    found: type[Recipe[Any]] = getattr(importlib.import_module(module), attribute)
    return found


def open_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe[Any]:
    """The recipe that a configuration names, with ``key=value`` overrides.

    Raises:
        InputError: if the file is unreadable, names no recipe, or a value is refused.
    """
    chosen, config = recipe_config(path, overrides)
    return chosen(config)


def recipe_config(path: Path, overrides: Sequence[str] = ()) -> tuple[type[Recipe[Any]], RunConfig]:
    """The class of the recipe that a configuration names, and the configuration.

    Raises:
        InputError: as :func:`open_recipe`.
    """
    name = read_yaml(path, overrides).get("recipe")
    if not isinstance(name, str):
        raise InputError(
            f"{path} names no recipe; add a line `recipe: NAME` with one of "
            f"{', '.join(sorted(RECIPES))}"
        )
    chosen = recipe_class(name)
    return chosen, read_config(chosen.config_type, path, overrides)
