"""Means over all samples of a step, also where several devices share it.

Each device divides by what all of them have on average; the mean of their gradients, which is what
they train with, is then that of one device with all samples.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def devices() -> int:
    """How many devices share a step; 1 where nothing is trained, as in measuring."""
    shared = dist.is_available() and dist.is_initialized() and torch.is_grad_enabled()
    return dist.get_world_size() if shared else 1


def device_number() -> int:
    """Which of the devices that share a step this is, from 0."""
    return dist.get_rank() if devices() > 1 else 0


def over_devices(value: Tensor) -> Tensor:
    """Mean of a number over the devices that share a step. All of them have to ask."""
    value = value.detach().clone()
    if (world := devices()) > 1:
        dist.all_reduce(value)
        value /= world
    return value


def mean_count(count: Tensor | int, like: Tensor, least: float = 1.0) -> Tensor:
    """What a device divides the sum over its samples by, for a mean over those of all.

    Args:
        count: of this device's samples, or the sum of their weights.
        like: on the device that computes.
        least: the sum over all devices is taken for at least this.
    """
    number = torch.as_tensor(count, dtype=torch.float32, device=like.device)
    return over_devices(number).clamp(min=least / devices())


def mean(values: Tensor) -> Tensor:
    """Mean of values over all devices; 0 of none, with the graph kept whole."""
    return values.sum() / mean_count(values.numel(), values)


def norm(values: Tensor) -> Tensor:
    """Root of the sum of squares over all devices.

    What a device gets isn't that, but the devices' mean of it is, and of its gradient.
    """
    world = devices()
    if world == 1:
        return values.norm()
    square = values.square().sum()
    root = (world * over_devices(square)).sqrt().clamp(min=1e-12)
    return world * square / (2 * root) + root / 2
