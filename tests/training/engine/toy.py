"""A recipe of a few numbers, to train in moments; also run as a program, by torchrun."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn

from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import BadRecordError, Mixture, Source
from smap_train.engine.trainer import train
from smap_train.recipes.base import Recipe


class ToyConfig(RunConfig):
    """A line through points."""

    recipe: Literal["toy"] = "toy"
    pause: float = 0.0  # seconds a sample
    bad: int = -1  # number of a record that can't be used
    slope: float = 2.0
    measure_pause: float = 0.0  # seconds of a measurement; the run's start is measured then, too


class Toy(Recipe[ToyConfig]):
    """Learns to double, with a hidden layer, from noisy numbers."""

    config_type: ClassVar[type[RunConfig]] = ToyConfig
    summary = "doubles numbers"
    model = "refinenet"  # the registry's smallest: checkpoints are written under its name

    def network(self):
        return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

    def dataset(self):
        config = self.config
        return Mixture(
            [Source("numbers", range(50), self.sample)],
            config.steps * config.batch_size,
            config.seed,
            config.on_bad,
            config.out / "skipped.jsonl",
        )

    def sample(self, record, rng):
        if record == self.config.bad:
            raise BadRecordError(f"numbers.txt, record {record}: value is nan")
        if self.config.pause:
            time.sleep(self.config.pause)
        x = np.float32([record / 25 - 1 + 0.1 * rng.standard_normal()])
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(self.config.slope * x)}

    def losses(self, network, batch, step):
        return {"square": (network(batch["x"]) - batch["y"]).square().mean()}

    def loss_weights(self):
        return {"square": 1.0}

    def files(self):
        return []

    def starts_trained(self):
        return self.config.measure_pause > 0

    def evaluate(self, network, limit):
        if self.config.measure_pause:
            (self.config.out / "measuring").touch()
            time.sleep(self.config.measure_pause)
        x = torch.linspace(-1, 1, min(limit, 20))[:, None]
        torch.rand(3)  # drawing here must not change the run
        return {"error": float((network(x) - self.config.slope * x).abs().mean().detach())}


def toy(out: Path, **settings) -> Toy:
    defaults = {
        "steps": 20, "batch_size": 8, "workers": 0, "learning_rate": 0.02, "warmup": 2,
        "checkpoint_every": 5, "threads": 1,
    }  # fmt: skip
    return Toy(ToyConfig(out=out, **{**defaults, **settings}))


def settings_of(words: list[str]) -> dict[str, object]:
    pairs = dict(word.split("=", 1) for word in words)
    return {name: float(v) if "." in v else int(v) for name, v in pairs.items()}


if __name__ == "__main__":
    from smap_ros.stopping import Stopped, stoppable

    try:
        with stoppable():
            train(toy(Path(sys.argv[1]), **settings_of(sys.argv[2:])))
    except Stopped as stop:
        sys.stderr.write(f"{stop}\n")
        sys.exit(stop.status)
