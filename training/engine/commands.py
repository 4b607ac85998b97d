"""`smap-train fit` and `smap-train recipes`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from smap_train.engine.config import described
from smap_train.recipes.registry import RECIPES, open_recipe, recipe_class


def fit(
    config: Annotated[
        Path, typer.Argument(help="YAML with `recipe: NAME`, see training/configs/.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, in place of what the file says.")
    ] = None,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Stop at this step of the run.")
    ] = None,
    change: Annotated[
        bool, typer.Option("--change", help="Resume although settings change the result.")
    ] = False,
) -> None:
    """Train the recipe of a configuration; run again to resume from the last checkpoint.

    `smap-train recipes NAME` prints the keys that a recipe has. On several GPUs or machines:
    `torchrun --nproc_per_node=2 -m smap_train fit CONFIG`.

    Example: smap-train fit training/configs/smap_lite.yaml steps=5000 out=runs/a
    """
    # torch and Lightning take seconds to import
    from smap_train.engine.checkpoint import LAST, steps_done
    from smap_train.engine.trainer import train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = open_recipe(config, overrides or [])
    weights = train(recipe, stop_after, change)
    typer.echo(f"weights: {weights}")
    if steps_done(recipe.config.out / LAST) < recipe.config.steps:
        typer.echo("the run isn't at its end; the same command goes on")
    typer.echo(f"next: {type(recipe).next_step(recipe.config, config)}")


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's keys.")] = None,
) -> None:
    """List what can be trained, or every key of one recipe with its default and meaning."""
    console = Console()
    if name is None:
        table = Table("recipe", "what it trains", "bundle", box=None)
        for known in sorted(RECIPES):
            found = recipe_class(known)
            table.add_row(known, found.summary, found.bundle_kind or "part of one")
    else:
        found = recipe_class(name)
        table = Table("key", "default", "meaning", box=None, title=found.summary)
        for key, default, meaning in described(found.config_type):
            table.add_row(key, default, meaning)
    console.print(table)
