"""What a network with SMAP's outputs finds on held-out scenes, through the bundle it would be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.evaluation.common.predictions import BundlePredictions
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.virtual.measures import Numbers, evaluate, summarise
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_train.export.common import ExportOptions
from smap_train.export.smap import export_smap_kind
from smap_train.models.checkpoint import save_checkpoint
from smap_train.recipes.base import Recipe

# Not the fastest one here, which is tried out anew each time: all measures of a run by the same.
_ENGINE = "onnxruntime"


@contextmanager
def predictions_of(
    checkpoint: Path,
    engine: str = "auto",
    *,
    refine: Path | None = None,
    like: str | None = None,
) -> Iterator[BundlePredictions]:
    """What the bundle of a checkpoint finds; the bundle is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        options = ExportOptions(refine=refine, like=like)
        bundle, _ = export_smap_kind(checkpoint, Path(folder) / "bundle", options)
        with closing(BundlePredictions(create_estimator(bundle, engine=engine))) as predictions:
            yield predictions


def numbers_on(predictions: BundlePredictions, scenes: Sequence[Scene]) -> Numbers:
    """The measures of protocol ``virtual``, over all people."""
    outcome = evaluate(predictions, scenes)
    return summarise(outcome.people, len(outcome.ghosts))


def held_out_measures(
    recipe: Recipe[Any],
    network: nn.Module,
    folders: Sequence[Path],
    limit: int,
    like: str | None = None,
) -> Mapping[str, float]:
    """How a run stands on shards of held-out scenes; the first one is to be lowered.

    Args:
        recipe: of the run, for the network's options.
        network: with the weights to measure.
        folders: of shards; nothing is measured without any.
        limit: most pictures.
        like: bundle whose thresholds and further networks go with the weights.
    """
    scenes = [scene for folder in folders for scene in open_scenes(folder)][:limit]
    if not scenes:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path, weights = Path(folder) / "weights.pth", network.state_dict()
        save_checkpoint(path, recipe.model, weights, "", recipe.input_size, **recipe.options)
        try:
            with predictions_of(path, _ENGINE, like=like) as predictions:
                numbers = numbers_on(predictions, scenes)
        except InputError as error:
            raise InputError(f"the weights can't be measured: {error}") from error
    return {
        "wrong_joints_percent": 100 - numbers.pck250_percent,
        "missed_percent": 100 - numbers.recall_percent,
        "ghosts": float(numbers.ghosts or 0),
        "mpjpe_mm": numbers.mpjpe_mm,
        "root_depth_percent": numbers.root_depth_percent,
    }
