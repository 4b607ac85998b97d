"""The one LightningModule: a recipe's network with its losses, optimiser and schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from smap_train.recipes.base import Recipe


class RecipeModule(lightning.LightningModule):
    """Trains a recipe; what is kept is under ``model``."""

    def __init__(self, recipe: Recipe[Any]) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = recipe.network()
        self._stated: list[dict[str, Any]] = []  # settings of each group of the optimiser

    def on_fit_start(self) -> None:
        """Lightning's launchers set torch's threads anew; what is configured counts."""
        if self.recipe.config.threads:
            torch.set_num_threads(self.recipe.config.threads)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Weighted sum of the losses of one batch; each of them goes to the curves."""
        torch.manual_seed(self._seed_of(index))
        terms = self.recipe.losses(self.model, batch, self.global_step)
        weights: Mapping[str, float] = self.recipe.loss_weights()
        total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        size = self.recipe.config.batch_size
        self.log_dict(dict(terms), prog_bar=True, batch_size=size)
        self.log("loss", total, batch_size=size)
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {float(value.detach()):g}" for name, value in terms.items())
            raise self.recipe.diverged(self.global_step, values)
        return total

    def _seed_of(self, index: int) -> int:
        """What a part of a step draws (dropout) follows from its place in the run alone.

        So a resumed run draws what one that wasn't stopped does.
        """
        config = self.recipe.config
        place = self.global_step * config.accumulate + index % config.accumulate
        return ((config.seed * 1_000_003 + place) * 4099 + self.global_rank) % 2**63

    def configure_optimizers(self) -> Any:
        """The recipe's optimiser, its rate a function of the step alone."""
        optimizer = self.fresh_optimizer()
        self._stated = [settings_of(group) for group in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.recipe.config.rate)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def fresh_optimizer(self) -> torch.optim.Optimizer:
        """The recipe's optimiser as it is at the start of a run."""
        return self.recipe.optimizer(self.recipe.parameter_groups(self.model))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with a whole step, in the parts that are configured, from the run's own weights."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        parts = checkpoint["global_step"] * self.recipe.config.accumulate
        ahead = progress["current"]["ready"] - parts  # in other parts, or of a step that was cut
        for counts in (progress["current"], progress["total"]):
            counts.update({name: count - ahead for name, count in counts.items()})
        own = checkpoint.get("current_model_state")
        if own is not None and not self.recipe.config.ema_decay:  # with it Lightning takes them
            checkpoint["state_dict"] = own

    def on_train_start(self) -> None:
        """What is configured counts, though a resumed state brings the settings it had.

        Moments stay. Settings that didn't change are the same to the bit afterwards.
        """
        optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        assert isinstance(optimizer, torch.optim.Optimizer)
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        factor = self.recipe.config.rate(schedule.last_epoch)
        for group, stated in zip(optimizer.param_groups, self._stated, strict=True):
            group.update(stated, lr=stated["lr"] * factor, initial_lr=stated["lr"])
        schedule.base_lrs = [stated["lr"] for stated in self._stated]


def settings_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimiser's group says beside which parameters are in it."""
    return {name: value for name, value in group.items() if name != "params"}
