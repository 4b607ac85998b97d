"""HAP's two losses over two differently masked views of the same crops."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from smap_train.models.hap.network import MaskedView, patchify

ALIGNMENT_WEIGHT = 0.05
_TEMPERATURE = 0.2
_EPS = 1e-6


class PretrainingLoss(NamedTuple):
    """Scalars.

    Attributes:
        total: what is minimised.
        reconstruction: mean squared error of the hidden patches.
        alignment: how far the two views of a person are from each other's nearest.
    """

    total: Tensor
    reconstruction: Tensor
    alignment: Tensor


def pretraining_loss(image: Tensor, first: MaskedView, second: MaskedView) -> PretrainingLoss:
    """Both losses.

    Args:
        image: [B, 3, H, W], what the views were made of.
        first, second: two views.
    """
    target = patchify(image)
    views = (first, second)
    reconstruction = torch.stack([reconstruction_loss(target, view) for view in views]).mean()
    alignment = alignment_loss(first.token, second.token)
    return PretrainingLoss(reconstruction + ALIGNMENT_WEIGHT * alignment, reconstruction, alignment)


def reconstruction_loss(target: Tensor, view: MaskedView) -> Tensor:
    """Mean squared error of hidden patches, each target patch normalised by its own pixels.

    Args:
        target: [B, N, 768], see ``patchify``.
    """
    variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
    error = (view.patches - (target - mean) / (variance + _EPS).sqrt()).square().mean(-1)
    return (error * view.mask).sum() / view.mask.sum()


def alignment_loss(first: Tensor, second: Tensor) -> Tensor:
    """Structure-invariant alignment: each view must find its partner among all in the batch.

    A contrastive loss in both directions; no gradient goes to the side that is searched, which
    is that of the batches of all processes, as officially.

    Args:
        first, second: class tokens [B, C] of two views of the same people.
    """
    a, b = F.normalize(first, dim=1), F.normalize(second, dim=1)
    everybody_a, start = _of_all_processes(a)
    everybody_b, _ = _of_all_processes(b)
    partner = torch.arange(start, start + len(a), device=a.device)
    forth = F.cross_entropy(a @ everybody_b.T / _TEMPERATURE, partner)
    back = F.cross_entropy(b @ everybody_a.T / _TEMPERATURE, partner)
    return 2 * _TEMPERATURE * (forth + back)


def _of_all_processes(tokens: Tensor) -> tuple[Tensor, int]:
    """The tokens [B, C] of all processes, without gradients, and where this one's begin."""
    tokens = tokens.detach()
    if not (distributed.is_available() and distributed.is_initialized()):
        return tokens, 0
    gathered = [torch.empty_like(tokens) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, tokens)
    return torch.cat(gathered), distributed.get_rank() * len(tokens)
