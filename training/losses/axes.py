"""Where a volume's mass lies along each axis, against where the joint is.

A soft-argmax alone learns slowly as long as the volume is flat: all cells are wrong by the same
little. Told as a class along each axis, the place of a joint is learnt from the first step on
(Sun et al., ECCV 2018, add heatmaps to the soft-argmax for the same reason).
"""

from __future__ import annotations

import torch
from torch import Tensor

from smap_train.models.layers.soft_argmax import hat_weights


def axis_loss(volumes: Tensor, target: Tensor, visible: Tensor, has_depth: Tensor) -> Tensor:
    """Cross entropy of the marginals with the two cells that a joint lies between.

    Args:
        volumes: logits [B, J, D, D, D]: depth, rows, columns.
        target: [B, J, 3], x, y, z in cells; a cell's middle is a whole number.
        visible: [B, J, 1], 1 where a joint is labelled and inside the crop.
        has_depth: [B, 1], 1 where a person's depths are labelled.

    Returns:
        [B, J], the mean over the axes that are labelled counted as three.
    """
    size = volumes.shape[-1]
    # In logarithms, since a place far from all that is thought likely must teach the most.
    picture, side = volumes.logsumexp(2), volumes.logsumexp(4)  # [B, J, y, x], [B, J, z, y]
    marginals = picture.logsumexp(2), picture.logsumexp(3), side.logsumexp(3)
    losses = []
    for axis, marginal in enumerate(marginals):
        place = target[..., axis].clamp(0, size - 1)
        losses.append(-(hat_weights(place, size) * marginal.log_softmax(-1)).sum(-1))
    x, y, z = (loss * visible[..., 0] for loss in losses)
    return torch.as_tensor((x + y + z * has_depth.reshape(-1, 1)) / 3)
