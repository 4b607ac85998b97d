"""A contact sheet of what a recipe's network gets: augmented samples with their targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError
from smap_ros.pictures import write_picture
from smap_ros.viz.contact_sheet import Cell, contact_sheet
from smap_train.data.drawing import DRAWN
from smap_train.engine.sampling import Mixture, Source
from smap_train.recipes.base import Recipe

_LONGEST_CAPTION = 64


def write_preview(recipe: Recipe[Any], out: Path, count: int, first: int = 0) -> list[str]:
    """Draw samples of a run, as it would see them.

    Args:
        recipe: with the configuration of the run.
        out: picture to write.
        count: how many samples.
        first: number in the run of the first one.

    Returns:
        Where each sample is from.

    Raises:
        InputError: if the recipe's samples can't be drawn, or its data can't be used.
    """
    name = recipe.config.recipe
    if name not in DRAWN:
        raise InputError(
            f"samples of recipe {name} are no pictures; expected one of {', '.join(sorted(DRAWN))}"
        )
    dataset: Any = recipe.dataset()
    if isinstance(dataset, Mixture):
        dataset.skipped = None  # nothing is a run's here
        dataset.groups = [[_told(source) for source in group] for group in dataset.groups]
    cells, places = [], []
    for k in range(first, min(first + count, len(dataset))):
        place, sample = dataset[k] if isinstance(dataset, Mixture) else (f"sample {k}", dataset[k])
        caption = place if len(place) <= _LONGEST_CAPTION else "..." + place[-_LONGEST_CAPTION:]
        cells.append(Cell(DRAWN[name](sample, recipe), caption))
        places.append(place)
    if not cells:
        raise InputError(f"the run has {len(dataset)} samples; sample {first} isn't one of them")
    write_picture(out, contact_sheet(cells))
    return places


def _told(source: Source[Any]) -> Source[Any]:
    """A source whose samples come with the place that they are from."""
    make: Callable[[Any, np.random.Generator], Any] = source.make

    def both(record: Any, rng: np.random.Generator) -> tuple[str, Any]:
        return place_of(record) or source.name, make(record, rng)

    return replace(source, make=both)


def place_of(record: Any) -> str:
    """Where a record is from, if it knows: the first person's of a picture or clip."""
    if isinstance(record, list) and record:
        return place_of(record[0])
    if isinstance(record, tuple) and len(record) == 3:  # a piece of a track
        frames, start, _ = record
        return str(frames.index.some(start, ["place"])["place"])
    return str(getattr(record, "place", ""))
