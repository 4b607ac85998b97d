"""A folder of `smap-train fit` as the source of a bundle: its weights, and what goes with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smap_ros.errors import InputError, reason
from smap_train.engine.record import RECORD
from smap_train.engine.validation import BEST
from smap_train.recipes.registry import recipe_class


@dataclass(frozen=True)
class Run:
    """A run to export.

    Attributes:
        weights: those that were best on held-out records, or without such the last ones.
        record: of the run.
        options: fields of :class:`~smap_train.export.common.ExportOptions` that its
            configuration determines.
    """

    weights: Path
    record: Path
    options: dict[str, Any]


def open_run(folder: Path) -> Run:
    """What a run's folder holds.

    Raises:
        InputError: if it isn't one, or has no weights yet.
    """
    record = folder / RECORD
    config = read_record(record)["config"]
    recipe = recipe_class(str(config.get("recipe")))
    try:
        settings = recipe.config_type(**config)
    except ValidationError as error:
        raise InputError(
            f"{record} doesn't fit the recipe {recipe.config_type.__name__} ({reason(error)}); "
            f"export {folder}/NAME.pth instead of the folder"
        ) from error
    last = folder / f"{recipe.model_of(settings)}.pth"
    weights = folder / BEST if (folder / BEST).is_file() else last
    if not weights.is_file():
        raise InputError(f"the run {folder} has no weights yet: {last} is missing; train on")
    return Run(weights, record, recipe.export_options(settings))


def read_record(path: Path) -> dict[str, Any]:
    """The record that ``smap-train fit`` wrote.

    Raises:
        InputError: if it is none.
    """
    try:
        record = json.loads(path.read_text())
        if not isinstance(record["config"], dict) or "commit" not in record:
            raise ValueError("no config or commit in it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not the record of a training run ({reason(error)}); expected run.json as "
            "written by smap-train fit"
        ) from error
    return dict(record)
