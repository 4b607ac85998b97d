"""What a run takes: memory and the loader's speed before the first step, the step's beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import lightning
import torch
from torch import Tensor, nn

LOG = logging.getLogger(__name__)

_MEGABYTE = 1e6
_SAMPLES = 8
_UNTIMED, _TIMED = 3, 10  # forward passes that warm up, and those that are measured
_MUCH = 0.2  # of the time, spent waiting


@dataclass(frozen=True)
class Estimate:
    """Of a run on one device.

    Attributes:
        parameters: of the network that are trained.
        weights_mb: megabytes of the weights, their gradients, the optimiser's two moments and
            the averaged weights.
        loader_rate: samples a second that one process prepares.
    """

    parameters: int
    weights_mb: float
    loader_rate: float

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} trained parameters; {self.weights_mb:,.0f} MB for weights, "
            f"gradients and optimiser, activations come on top; one process prepares "
            f"{self.loader_rate:.1f} samples/s"
        )


def estimate(network: nn.Module, dataset: Iterable[object], averaged: bool) -> Estimate:
    """Look at the network, and time the first samples of the run."""
    trained = [p for p in network.parameters() if p.requires_grad]
    frozen = [p for p in network.parameters() if not p.requires_grad]
    copies = 4 + averaged  # weight, gradient, two moments
    nbytes = sum(copies * _bytes(p) for p in trained)
    nbytes += sum((1 + averaged) * _bytes(t) for t in [*frozen, *network.buffers()])
    start = time.perf_counter()
    seen = sum(1 for _ in islice(iter(dataset), _SAMPLES))
    rate = seen / max(time.perf_counter() - start, 1e-9)
    return Estimate(sum(p.numel() for p in trained), nbytes / _MEGABYTE, rate)


def _bytes(tensor: Tensor) -> int:
    return int(tensor.numel() * torch.empty(0, dtype=tensor.dtype).element_size())


class Rates(lightning.Callback):
    """Says once, after the first steps, how fast samples are learnt from beside how fast they come.

    Args:
        batch_size: samples of a forward pass, over all devices.
        workers: processes a device that prepare samples.
        loader_rate: samples a second that one process prepares; None where nobody measured it.
    """

    def __init__(self, batch_size: float, workers: int, loader_rate: float | None = None) -> None:
        self.batch_size, self.workers, self.loader_rate = batch_size, workers, loader_rate
        self.computing, self.waiting = 0.0, 0.0
        self.count = -_UNTIMED
        self.last: float | None = None

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The samples are here."""
        if self.count >= _TIMED:
            return
        now = _now()
        if self.count >= 0 and self.last is not None:
            self.waiting += now - self.last
        self.last = now

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """They have been learnt from."""
        if self.count >= _TIMED or self.last is None:
            return
        now = _now()
        if self.count >= 0:
            self.computing += now - self.last
        self.last = now
        self.count += 1
        if self.count == _TIMED and trainer.is_global_zero:
            LOG.info("%s", self.told(trainer.world_size))

    def told(self, devices: int) -> str:
        """What was measured, in a line."""
        learnt = self.batch_size * _TIMED / max(self.computing, 1e-9)
        waited = self.waiting / max(self.waiting + self.computing, 1e-9)
        text = f"a step learns from {learnt:.1f} samples/s"
        processes = max(self.workers, 1) * devices
        if self.loader_rate is not None:
            given = self.loader_rate * processes
            who = f"{processes} processes prepare" if processes > 1 else "one process prepares"
            text += f", {who} about {given:.1f}"
        text += f"; {waited:.0%} of the time it waits for samples"
        return text + (": set workers higher" if waited > _MUCH else "")


def _now() -> float:
    """Seconds, when all that was asked of the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
