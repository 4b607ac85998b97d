"""What a run will take, said before its first step: memory and the speed of the loader."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

_MEGABYTE = 1e6
_SAMPLES = 8


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
