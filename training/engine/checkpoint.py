"""The state of a run on disk: whole or not at all, written by one process, resumed to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from smap_ros.errors import InputError
from smap_train.engine.module import RecipeModule
from smap_train.models.checkpoint import read_untrusted, save_checkpoint

LAST = "last.ckpt"
STEPS = "steps"  # folder of the averaged weights along the way


class KeepLast(Callback):
    """Write the state of the run every so many steps or minutes and at its last one.

    It is written whole or not at all.

    When the run's configuration says so, averaged weights along the way are kept under
    ``steps/`` beside it.

    Args:
        path: of the state, replaced each time.
        every: steps between states.
        keep_every: steps between averaged weights; 0 keeps none.
        minutes: most between states.
    """

    def __init__(
        self, path: Path, every: int, keep_every: int = 0, minutes: float = math.inf
    ) -> None:
        self.path, self.every, self.keep_every = path, every, keep_every
        self.seconds = 60 * minutes
        self.saved = -1  # step of the last state
        self.since = time.monotonic()  # when it was written

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time."""
        step = trainer.global_step
        if step == self.saved or within_step(trainer, batch_idx):
            return
        keep = self.keep_every > 0 and step % self.keep_every == 0
        if keep or step % self.every == 0 or step == trainer.max_steps or self._late(trainer):
            self.save(trainer)
        if keep and trainer.is_global_zero:
            assert isinstance(pl_module, RecipeModule)
            save_averaged(self.path, self.path.parent / STEPS / f"{step:06d}.pth", pl_module)

    def _late(self, trainer: lightning.Trainer) -> bool:
        """Whether the last state is too old by some process' clock: all of them save together."""
        late = time.monotonic() - self.since > self.seconds
        if trainer.world_size > 1 and math.isfinite(self.seconds):
            return trainer.strategy.reduce_boolean_decision(late, all=False)
        return late

    def save(self, trainer: lightning.Trainer) -> None:
        """Write the state. All processes call it; the first one writes."""
        if self.saved == trainer.global_step:
            return
        _require_numbers(trainer)
        unfinished = self.path.with_suffix(".unfinished")
        try:
            # All of the state. Left open, Lightning says at each one that it takes this for meant.
            trainer.save_checkpoint(unfinished, weights_only=False)
            if trainer.is_global_zero:
                unfinished.replace(self.path)
        except (
            OSError,
            RuntimeError,
        ) as error:  # torch's writer: RuntimeError
            if trainer.is_global_zero:
                unfinished.unlink(missing_ok=True)
            left = "there is none yet"
            if self.path.exists():
                left = (
                    f"the one of {f'step {self.saved}' if self.saved >= 0 else 'before'} is whole"
                )
            raise InputError(
                f"can't write the checkpoint {self.path} at step {trainer.global_step} "
                f"({error}); {left}"
            ) from error
        trainer.strategy.barrier("checkpoint")
        self.saved, self.since = trainer.global_step, time.monotonic()


def within_step(trainer: lightning.Trainer, batch_idx: int) -> bool:
    """Whether a step has parts to come after this one: its gradients are in no state."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches != 0


def _require_numbers(trainer: lightning.Trainer) -> None:
    """Refuse to replace a good state by one from which nothing can be learnt any more.

    Raises:
        InputError: if a weight is no number.
    """
    module = trainer.lightning_module
    assert isinstance(module, RecipeModule)
    for name, weight in module.model.named_parameters():
        if not torch.isfinite(weight).all():
            raise module.recipe.diverged(trainer.global_step, f"weight {name} is no number")


def save_averaged(state: Path, weights: Path, module: RecipeModule) -> None:
    """Write the averaged weights in one of our own training states as a checkpoint."""
    # Lightning keeps the averaged weights as the state_dict.
    averaged = torch.load(state, map_location="cpu", weights_only=True)["state_dict"]
    network = {key.removeprefix("model."): value for key, value in averaged.items()}
    recipe = module.recipe
    save_checkpoint(
        weights, recipe.model, network, "", recipe.input_size, **recipe.options
    )  # fmt: skip


def warm_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that starts as the mean, so that no first weights linger."""

    def update(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # A tenth of the run so far, at most the horizon of the decay.
        share = max(1 - decay, 10.0 / (10.0 + int(count)))
        return average + (current - average) * share

    return update


def steps_done(checkpoint: Path) -> int:
    """Optimiser steps in one of our own training states; 0 when there is none.

    Raises:
        InputError: if the file is damaged.
    """
    if not checkpoint.exists():
        return 0
    try:
        return int(read_untrusted(checkpoint)["global_step"])
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"the state of the run, {checkpoint}, is damaged ({error}); put back a copy, or "
            f"choose another `out` to begin anew{_kept_weights(checkpoint.parent)}"
        ) from error


def _kept_weights(out: Path) -> str:
    """Where a run's weights are when its state is lost; empty where none are."""
    kept = [*out.glob("*.pth"), *(out / STEPS).glob("*.pth")]
    return f". Its weights are in {', '.join(str(path) for path in sorted(kept))}" if kept else ""
