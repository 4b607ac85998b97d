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
        optimizer = self.recipe.optimizer(self.recipe.parameter_groups(self.model))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.recipe.config.rate)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]
