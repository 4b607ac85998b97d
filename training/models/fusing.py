"""Makes one person of two looks: a perceptron that corrects what a closed form makes of them.

How its input is made and its output put back is the estimator's business
(:mod:`smap_ros.estimators.second_look.learned`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from smap_ros.estimators.second_look.learned import (
    INPUTS,
    JOINTS,
    NUMBERS,
    OUTPUTS,
    POINTS,
    POSES,
    SCORES,
)
from smap_ros.skeletons import MPI15

_PARTS = (JOINTS * POSES * 3, JOINTS * POINTS * 2, JOINTS * SCORES, NUMBERS)
_LEAST = 0.02  # deviation of an input; one that hardly changes says little
_FARTHEST = 6.0  # deviations that an input counts


class Fusing(nn.Module):
    """350 -> hidden layers -> 75, of a person and of the person in a mirror: their mean.

    Input: float32 [B, 350], in the person's own frame. Output: dict with ``output`` [B, 75],
    corrections, metres.

    Args:
        hidden: widths of the hidden layers.
        dropout: share of what is left out in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden: Sequence[int] = (512, 512), dropout: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(INPUTS))
        self.register_buffer("deviation", torch.ones(INPUTS))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = INPUTS
        for k, wide in enumerate(hidden, start=1):
            layers[f"layer{k}"] = nn.Sequential(
                nn.Linear(width, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(dropout)
            )
            width = wide
        last = nn.Linear(width, OUTPUTS)
        nn.init.zeros_(last.weight)  # untrained, it corrects no pose
        nn.init.zeros_(last.bias)
        layers["last"] = last
        self.perceptron = nn.Sequential(layers)

    def measure(self, people: Tensor) -> None:
        """Take the inputs' mean and deviation from those of many people [M, 350]."""
        self.mean.copy_(people.mean(dim=0))
        self.deviation.copy_(people.std(dim=0, unbiased=False) + _LEAST)

    def once(self, people: Tensor) -> Tensor:
        """[B, 350] -> [B, 75], of the people as they are."""
        usual = (people - self.mean) / self.deviation
        out: Tensor = self.perceptron(usual.clamp(-_FARTHEST, _FARTHEST))
        return out

    def forward(self, people: Tensor) -> dict[str, Tensor]:
        """[B, 350] -> {"output": [B, 75]}."""
        both = self.once(people) + mirrored_output(self.once(mirrored_input(people)))
        return {"output": both / 2}


def mirrored_input(people: Tensor) -> Tensor:
    """People [B, 350] in a mirror: left and right exchanged, and x turned round."""
    poses, points, scores, numbers = people.split(_PARTS, dim=1)
    flipped = [
        _mirrored(poses, POSES, 3), _mirrored(points, POINTS, 2),
        scores.unflatten(1, (JOINTS, SCORES))[:, MPI15.flip].flatten(1), numbers,
    ]  # fmt: skip
    return torch.cat(flipped, dim=1)


def mirrored_output(corrections: Tensor) -> Tensor:
    """Corrections [B, 75] of the people in the mirror."""
    poses, points = corrections.split((3 * JOINTS, 2 * JOINTS), dim=1)
    return torch.cat([_mirrored(poses, 1, 3), _mirrored(points, 1, 2)], dim=1)


def turned_input(people: Tensor, turn: Tensor) -> Tensor:
    """People [B, 350] turned about their axes, by matrices [B, 2, 2]."""
    poses, points, scores, numbers = people.split(_PARTS, dim=1)
    return torch.cat([_turned(poses, 3, turn), _turned(points, 2, turn), scores, numbers], dim=1)


def _mirrored(columns: Tensor, each: int, axes: int) -> Tensor:
    sign = torch.ones(axes)
    sign[0] = -1
    by_joint = columns.unflatten(1, (JOINTS, each, axes))[:, MPI15.flip]
    return (by_joint * sign.to(columns)).flatten(1)


def _turned(columns: Tensor, axes: int, turn: Tensor) -> Tensor:
    vectors = columns.unflatten(1, (-1, axes))
    return torch.cat([vectors[..., :2] @ turn, vectors[..., 2:]], dim=-1).flatten(1)
