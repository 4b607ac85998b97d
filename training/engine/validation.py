"""Measuring a run on held-out records while it goes on, and keeping its best weights."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging

from smap_ros.errors import InputError, reason
from smap_train.engine.checkpoint import KeepLast
from smap_train.engine.config import RunConfig
from smap_train.engine.module import RecipeModule
from smap_train.files import whole_file
from smap_train.models.checkpoint import save_checkpoint

LOG = logging.getLogger(__name__)

MEASURES = "measures.jsonl"
BEST = "best.pth"


class Validate(Callback):
    """Every so many steps the averaged weights are measured by the recipe.

    The measures go to the curves and, a line each, to ``measures.jsonl``; the weights with the
    lowest first measure are kept as ``best.pth``. What a run starts from is measured as well, where
    that is trained. The state is written first: no measures are without it, and a run that ends
    meanwhile is measured there when it goes on.

    Args:
        config: of the run.
        keep: writes the state.
    """

    def __init__(self, config: RunConfig, keep: KeepLast) -> None:
        self.config, self.keep = config, keep
        self.measured = -1

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Measure what the run starts from, and where an earlier start stopped before it could."""
        assert isinstance(pl_module, RecipeModule)
        step = trainer.global_step
        if step and trainer.is_global_zero:
            forget_later(self.config.out, step)
        if step == 0 and not pl_module.recipe.starts_trained():
            return
        if step == 0 or self._due(trainer):
            self._measure(trainer, pl_module, step == 0 or not self._known(step))
            trainer.strategy.barrier("validation")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measure when it is time. The first process does; the others wait."""
        step = trainer.global_step
        if not self._due(trainer) or step in (0, self.measured):
            return
        if trainer.should_stop and step < trainer.max_steps:
            return  # who asked for the end doesn't wait for this
        assert isinstance(pl_module, RecipeModule)
        self.keep.save(trainer)
        self._measure(trainer, pl_module)
        trainer.strategy.barrier("validation")

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure the end of a run that was over already: no other hook is called for it."""
        assert isinstance(pl_module, RecipeModule)
        step = trainer.global_step
        if step >= trainer.max_steps and self._due(trainer) and step != self.measured:
            self._measure(trainer, pl_module, not self._known(step))

    def _due(self, trainer: lightning.Trainer) -> bool:
        """Whether the run is measured where it stands."""
        step = trainer.global_step
        return step % self.config.validate_every == 0 or step == trainer.max_steps

    def _known(self, step: int) -> bool:
        """Whether an earlier start of the run has measured there."""
        return step in [line["step"] for line in measured(self.config.out / MEASURES)]

    def _measure(
        self, trainer: lightning.Trainer, module: RecipeModule, wanted: bool = True
    ) -> None:
        """Measure where the run stands, on the first process, and keep what is the best so far."""
        step = self.measured = trainer.global_step
        if not (wanted and trainer.is_global_zero):
            return
        recipe = module.recipe
        network = _averaged(trainer, module)
        training = network.training
        # Measuring may draw random numbers; the run goes on as if it hadn't.
        with torch.random.fork_rng(), torch.no_grad():
            network.eval()
            measures = recipe.evaluate(network, self.config.validation_limit)
            network.train(training)
        if not measures:
            LOG.warning("held out, step %d: nothing was there to measure", step)
            return
        if trainer.logger is not None:
            values = {f"held_out/{name}": value for name, value in measures.items()}
            trainer.logger.log_metrics(values, step)
        path = self.config.out / MEASURES
        before = [line for line in measured(path) if line["step"] < step]
        first, value = next(iter(measures.items()))
        best = min((line[first] for line in before if first in line), default=math.inf)
        if not (self.config.out / BEST).exists():
            best = math.inf
        told = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
        LOG.info("held out, step %d: %s%s", step, told, "; the best so far" if value < best else "")
        lines = [*before, {"step": step, **measures}]
        if step == 0:  # by its line a start that was killed is known
            write_measures(path, lines)
        if value < best:
            file, weights = self.config.out / BEST, network.state_dict()
            save_checkpoint(file, recipe.model, weights, "", recipe.input_size, **recipe.options)
        if step:  # by its line a later start knows that both are done
            write_measures(path, lines)


def write_measures(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write ``measures.jsonl`` anew."""
    with whole_file(path, "the measures") as written:
        written.write("".join(json.dumps(line) + "\n" for line in lines).encode())


def forget_later(out: Path, step: int) -> None:
    """Leave out what was measured after a step that a run goes on from: a copy was put back.

    Args:
        out: folder of the run.
        step: of the state.
    """
    lines = measured(out / MEASURES)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) < len(lines):
        LOG.warning(
            "%s: what was measured after step %d is left out, %s with it; the best weights from "
            "here on are kept", out / MEASURES, step, BEST,
        )  # fmt: skip
        write_measures(out / MEASURES, kept)
        (out / BEST).unlink(missing_ok=True)


def measured(path: Path) -> list[dict[str, Any]]:
    """The lines of an earlier start of the run; none without the file.

    Args:
        path: of ``measures.jsonl``.

    Raises:
        InputError: if they are damaged.
    """
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if float(line["step"]) >= 0]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the measures of the run, {path}, are damaged ({reason(error)}); remove the file to "
            "go on without them"
        ) from error


def _averaged(trainer: lightning.Trainer, module: RecipeModule) -> torch.nn.Module:
    """The network with the averaged weights where the run has them."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        average = getattr(callback, "_average_model", None)
        if isinstance(callback, WeightAveraging) and average is not None:
            model: torch.nn.Module = average.module.model
            return model
    return module.model
