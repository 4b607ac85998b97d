"""SMAP's training loss, and its single-scale pieces for smaller networks.

Zhen et al., ECCV 2020, section 3.2, with the weights of the official code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from smap_train.losses.shared import mean
from smap_train.models.smap import KEYPOINTS, MAPS_2D, StageMaps

# Channels that count in hard mining: the worst 8 of 15 heatmaps, 16 of 28 affinity channels,
# 8 of 14 bone depths.
HARD_HEATMAPS, HARD_AFFINITIES, HARD_BONES = 8, 16, 8

WEIGHT_2D, WEIGHT_BONE, WEIGHT_ROOT = 0.1, 5.0, 10.0
COARSE_LEVEL_WEIGHT = 1 / 4  # of every decoder level but the finest


def channel_mse(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of each map, zero where the channel has no label.

    Args:
        prediction: [B, C, H, W].
        target: [B, C, H, W].
        valid: [B, C] or [B, C, 1]; a channel counts where this is above zero.

    Returns:
        [B, C].
    """
    error = (prediction - target).square().mean(dim=(2, 3))
    return error * (valid.reshape(error.shape) > 0)


def hard_mean(errors: Tensor, top: int) -> Tensor:
    """Mean over the batch of each image's ``top`` largest channel errors.

    Args:
        errors: [B, C].

    Returns:
        Scalar.
    """
    return errors.topk(top, dim=1).values.mean()


def maps_2d_loss(
    prediction: Tensor, target: Tensor, valid: Tensor, *, hard: bool = False
) -> Tensor:
    """Loss of the 43 keypoint and affinity maps.

    Args:
        prediction: [B, 43, H, W].
        target: [B, 43, H, W].
        valid: [B, 43] or [B, 43, 1].
        hard: mine hard channels, heatmaps and affinity fields each on their own; their two
            means are added.

    Returns:
        Scalar.
    """
    errors = channel_mse(prediction, target, valid)
    if not hard:
        return errors.mean()
    heatmaps, affinities = errors[:, :KEYPOINTS], errors[:, KEYPOINTS:]
    return hard_mean(heatmaps, HARD_HEATMAPS) + hard_mean(affinities, HARD_AFFINITIES)


def bone_depth_loss(
    prediction: Tensor, target: Tensor, valid: Tensor, *, hard: bool = False
) -> Tensor:
    """Loss of the 14 relative depth maps.

    Args:
        prediction: [B, 14, H, W].
        target: [B, 14, H, W].
        valid: [B, 14] or [B, 14, 1].
        hard: mine hard channels.

    Returns:
        Scalar.
    """
    errors = channel_mse(prediction, target, valid)
    return hard_mean(errors, HARD_BONES) if hard else errors.mean()


def root_depth_loss(prediction: Tensor, rows: Tensor) -> Tensor:
    """L1 of the root depth map at the roots, averaged over the people of the batch.

    Args:
        prediction: [B, 1, H, W].
        rows: [B, P, 3], (row, column, depth) in map cells and the map's own unit, as
            ``targets.root_depth_rows`` makes them; rows with depth <= 0 are no people.

    Returns:
        Scalar; zero, still connected to the graph, if nobody is listed.
    """
    image, person = torch.nonzero(rows[..., 2] > 0, as_tuple=True)
    row, column, depth = rows[image, person].unbind(-1)
    at_roots = prediction[image, 0, row.long(), column.long()]
    return mean((at_roots - depth).abs())


def split_labels(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Separate 57 label channels, 15 heatmaps and 14 times (x, y, depth).

    Args:
        labels: [..., 57, H, W].

    Returns:
        The 43 maps in the order of the network's 2D output, and the 14 bone depths:
        [..., 43, H, W] and [..., 14, H, W].
    """
    heatmaps, fields = labels[..., :KEYPOINTS, :, :], labels[..., KEYPOINTS:, :, :]
    x, y, depth = (fields[..., k::3, :, :] for k in range(3))  # each [..., 14, H, W]
    affinities = torch.stack([x, y], dim=-3).flatten(-4, -3)  # x0, y0, x1, y1, ...
    return torch.cat([heatmaps, affinities], dim=-3), depth


def smap_loss(
    stages: Sequence[StageMaps], labels: Tensor, valid: Tensor, rows: Tensor
) -> dict[str, Tensor]:
    """The full coarse-to-fine loss over all stages and decoder levels.

    Level j of a stage is compared with label scale j; the last stage with scale j + 1, one
    step sharper. Hard mining acts on the finest level only.

    Args:
        stages: what the network returns in training mode.
        labels: [B, 5, 57, H, W], as ``targets.label_maps`` makes them.
        valid: [B, 57] or [B, 57, 1], ordered 15 heatmaps, 28 affinity channels, 14 depths.
        rows: [B, P, 3], see ``root_depth_loss``.

    Returns:
        Scalars: ``total``, which is optimised, and ``maps_2d``, ``bone``, ``root``: each
        term of the finest level, unweighted, summed over the stages, to watch.
    """
    targets_2d, targets_bone = split_labels(labels)  # [B, 5, 43, H, W], [B, 5, 14, H, W]
    valid_2d, valid_bone = valid[:, :MAPS_2D], valid[:, MAPS_2D:]
    total = labels.new_zeros(())
    watched = {name: labels.new_zeros(()) for name in ("maps_2d", "bone", "root")}
    for i, stage in enumerate(stages):
        sharper = int(i == len(stages) - 1)
        finest = len(stage.heatmap_2d) - 1
        for j, (maps, bones, roots) in enumerate(zip(*stage, strict=True)):
            scale, hard = j + sharper, j == finest
            terms = {
                "maps_2d": maps_2d_loss(maps, targets_2d[:, scale], valid_2d, hard=hard),
                "bone": bone_depth_loss(bones, targets_bone[:, scale], valid_bone, hard=hard),
                "root": root_depth_loss(roots, rows),
            }
            weighted = (
                WEIGHT_2D * terms["maps_2d"]
                + WEIGHT_BONE * terms["bone"]
                + WEIGHT_ROOT * terms["root"]
            )
            total = total + (weighted if hard else COARSE_LEVEL_WEIGHT * weighted)
            if hard:
                watched = {name: watched[name] + terms[name].detach() for name in watched}
    return {"total": total, **watched}
