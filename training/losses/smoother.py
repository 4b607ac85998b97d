"""Losses of the learned smoother: errors of pose and place, and of their differences over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from smap_train.losses.shared import mean_count
from smap_train.models.smoother.decoder import Answer
from smap_train.models.smoother.tracks import ROOT

_NEAREST = 0.3  # metres, of a pelvis before the camera
_ACROSS = 3.0  # the direction is better known than the depth, and counts for more


class SmootherWeights(BaseModel):
    """Factors on the terms."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pose: float = Field(1.0, ge=0, description="joints about the pelvis, metres")
    root: float = Field(0.5, ge=0, description="the pelvis, as a share of its depth")
    speed: float = Field(0.7, ge=0, description="of joints about the pelvis, metres a picture")
    acceleration: float = Field(0.8, ge=0, description="of the same, metres a picture squared")
    root_acceleration: float = Field(
        3.0, ge=0, description="of the pelvis, as a share of its depth"
    )
    variance: float = Field(0.01, ge=0, description="log likelihood of the spread that is told")


def smoother_losses(
    answers: Sequence[Answer], delays: Sequence[int], true: Tensor, scores: Tensor
) -> dict[str, Tensor]:
    """The terms, each the mean over delays and pictures in which a person was seen.

    Args:
        answers: what the network told with each of the delays.
        true: [N, T, 15, 3], metres; NaN where nobody was.
        scores: [N, T, 15], of what was found.
    """
    seen = scores[..., ROOT] > 0
    terms = [
        _terms(answer, true, seen, delay) for answer, delay in zip(answers, delays, strict=True)
    ]
    return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}


def _terms(answer: Answer, true: Tensor, seen: Tensor, delay: int) -> dict[str, Tensor]:
    want = true[:, : true.shape[1] - delay]
    there = torch.isfinite(want).all(-1).all(-1) & seen[:, : want.shape[1]]
    want = torch.nan_to_num(want, nan=1.0)
    error = answer.about[:, delay:] - (want - want[..., ROOT : ROOT + 1, :])
    off = error.square().sum(-1).clamp(min=1e-10).sqrt()  # [N, T, 15]
    depth = want[..., ROOT, 2:].clamp(min=_NEAREST)
    place = (answer.root[:, delay:] - want[..., ROOT, :]) / depth
    place = place * place.new_tensor([_ACROSS, _ACROSS, 1.0])
    variance = answer.variance[:, delay:]
    return {
        "pose": _mean(off.mean(-1), there),
        "root": _mean(place.abs().sum(-1), there),
        "speed": _difference(error, there, 1),
        "acceleration": _difference(error, there, 2),
        "root_acceleration": _difference(place, there, 2),
        "variance": _mean((off.detach().square() / variance.exp() + variance).mean(-1), there),
    }


def _difference(error: Tensor, there: Tensor, order: int) -> Tensor:
    for _ in range(order):
        error = error[:, 1:] - error[:, :-1]
        there = there[:, 1:] & there[:, :-1]
    size = error.square().sum(-1).clamp(min=1e-10).sqrt()
    return _mean(size.mean(-1) if size.dim() == 3 else size, there)


def _mean(values: Tensor, there: Tensor) -> Tensor:
    return (values * there).sum() / mean_count(there.sum(), values)
