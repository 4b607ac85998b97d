"""Recipe ``refinenet``: SMAP's second stage (Zhen et al., ECCV 2020, section 3.4) from its pairs.

For a bundle of this project recipe ``refine_lite`` is the better way: it sees more of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.pairs import Pair, open_pairs
from smap_train.engine.config import Drops, RunConfig
from smap_train.engine.sampling import Mixture, Source
from smap_train.models.refinenet import RefineNet
from smap_train.recipes.base import Recipe

_OTHERS = [k for k in range(len(MPI15)) if k != MPI15.root]  # the root's output isn't used


class RefineNetConfig(RunConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    FREE: ClassVar[frozenset[str]] = RunConfig.FREE | {"bundle"}

    recipe: Literal["refinenet"] = Field("refinenet", description="this recipe")
    bundle: str | None = Field(None, description="whose people these are, for the export alone")
    pairs: Path | None = Field(None, description="SMAP's file of pairs, generate_train_*.json")
    held_out: Path | None = Field(None, description="pairs that the best weights are chosen by")
    batch_size: int = Field(1024, gt=1, description="people a step, over all devices together")
    learning_rate: float = Field(0.08, gt=0, description="at the start")
    weight_decay: float = Field(0.0, ge=0, description="L2, on all parameters")
    warmup: int = Field(0, ge=0, description="steps that warm up")
    cooldown: float = Field(0.0, ge=0, le=1, description="share of the steps that cool down")
    drops: Drops = Field(
        [0.15, 0.3, 0.45, 0.6, 0.75, 0.9],
        description="shares of the steps at which the rate drops: every 30 of 200 epochs",
    )
    drop_factor: float = Field(0.5, gt=0, le=1, description="factor on the rate at each drop")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")


class RefineNetRecipe(Recipe[RefineNetConfig]):
    """refinenet with its loss."""

    config_type: ClassVar[type[RunConfig]] = RefineNetConfig
    optimiser = torch.optim.Adam  # as officially
    summary = "SMAP's RefineNet, from its file of pairs"
    model = "refinenet"

    @classmethod
    def export_options(cls, config: RefineNetConfig) -> dict[str, Any]:
        """The bundle that gets the network."""
        return {"like": config.bundle}

    @classmethod
    def next_step(cls, config: RefineNetConfig, path: Path) -> str:
        """The export; without a bundle in the configuration it is the user's to name."""
        return super().next_step(config, path) + ("" if config.bundle else " --like BUNDLE")

    def network(self) -> RefineNet:
        """Fresh weights of the official network."""
        return RefineNet()

    def dataset(self) -> Mixture:
        """All pairs, shuffled in each pass."""
        config = self.config
        if config.pairs is None:
            raise InputError("no training data: set pairs to SMAP's file of pairs")
        return self.mixture([Source(str(config.pairs), open_pairs(config.pairs), self.sample)])

    def sample(self, pair: Pair, rng: np.random.Generator) -> dict[str, Tensor]:
        """``input`` float32 [75] and ``target`` float32 [45]; nothing is left to chance."""
        return {
            "input": torch.from_numpy(pair.input()), "target": torch.from_numpy(pair.target())
        }  # fmt: skip

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Mean squared error of all 45 numbers, missing and unlabelled joints as well."""
        return {"square": F.mse_loss(network(batch["input"])["out"], batch["target"])}

    def loss_weights(self) -> Mapping[str, float]:
        """There is one."""
        return {"square": 1.0}

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Mean distance of the joints other than the root, cm, of the held-out pairs."""
        if self.config.held_out is None:
            return {}
        pairs = open_pairs(self.config.held_out)
        some = [pairs[k] for k in range(min(limit, len(pairs)))]
        device = next(network.parameters()).device
        given = torch.from_numpy(np.array([pair.input() for pair in some])).to(device)
        target = torch.from_numpy(np.array([pair.target() for pair in some])).to(device)
        error = (network(given)["out"] - target).unflatten(1, (len(MPI15), 3))
        return {"distance_cm": error.norm(dim=-1)[:, _OTHERS].mean().item()}

    def files(self) -> list[Path]:
        """The pairs."""
        return [path for path in (self.config.pairs, self.config.held_out) if path]
