"""Spatio-temporal self-attention, in MAED's five modes.

Tokens of all frames lie in one batch, frame index = n * T + t for frame t of clip n: x is
[N * T, P, C] with P tokens a frame, the class token first. The parameters are those of plain
attention; only ``parallel`` has one layer more.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from smap_train.models.layers.vit import attend

Mode = Literal["parallel", "series", "coupling", "vanilla", "temporal"]
Heads: TypeAlias = tuple[Tensor, Tensor, Tensor]  # queries, keys, values
MODES: tuple[Mode, ...] = ("parallel", "series", "coupling", "vanilla", "temporal")


class SpatioTemporalAttention(nn.Module):
    """Attention within frames and along time.

    Args:
        width: channels C.
        heads: number of heads.
        mode: ``vanilla`` attends within each frame. ``temporal`` averages a frame's tokens to
            one, attends along time, and gives the same result to all tokens. ``coupling``
            attends over all tokens of a clip at once. ``series`` attends within frames and
            then, through the same projection, along time. ``parallel`` (the paper's choice)
            does both on one projection and blends them per frame and channel.
    """

    def __init__(self, width: int, heads: int, mode: Mode) -> None:
        super().__init__()
        self.heads, self.mode = heads, mode
        self.proj = nn.Linear(width, width)
        if mode == "parallel":
            self.ts_attn = nn.Linear(2 * width, 2 * width)
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, length: int) -> Tensor:
        """Attend.

        Args:
            x: [N * T, P, C].
            length: frames T of a clip.

        Returns:
            [N * T, P, C]; [N * T, 1, C] in mode ``temporal``.
        """
        y: Tensor = self.proj(self._mix(x, length))
        return y

    def _mix(self, x: Tensor, length: int) -> Tensor:
        if self.mode == "vanilla":
            return self._within(self._project(x))
        if self.mode == "temporal":
            return self._along_time(self._project(x.mean(dim=1, keepdim=True)), length)
        if self.mode == "coupling":
            clips = x.unflatten(0, (-1, length)).flatten(1, 2)  # [N, T * P, C]
            return self._within(self._project(clips)).unflatten(1, (length, -1)).flatten(0, 1)
        if self.mode == "series":
            return self._along_time(self._project(self._within(self._project(x))), length)
        projected = self._project(x)
        return self._blend(self._within(projected), self._along_time(projected, length))

    def _project(self, x: Tensor) -> Heads:
        """[B, P, C] -> queries, keys and values, [B, P, h, C / h] each.

        Taken apart once, and only then put in the order that each attention needs: of a graph
        that takes them apart twice, in two orders, TensorRT's builder dies.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return q, k, v

    def _within(self, projected: Heads) -> Tensor:
        """Over the tokens of each batch entry: 3 x [B, P, h, d] -> [B, P, C]."""
        q, k, v = (part.transpose(-2, -3) for part in projected)
        return attend(q, k, v)

    def _along_time(self, projected: Heads, length: int) -> Tensor:
        """Over the frames of a clip, each token index for itself: as ``_within``."""
        tokens = projected[0].shape[1]
        q, k, v = (
            part.unflatten(0, (-1, length)).permute(0, 2, 3, 1, 4).flatten(0, 1)
            for part in projected
        )  # [N * P, h, T, d]
        mixed = attend(q, k, v).unflatten(0, (-1, tokens))  # [N, P, T, C]
        return mixed.transpose(1, 2).flatten(0, 1)

    def _blend(self, spatial: Tensor, temporal: Tensor) -> Tensor:
        """Weighted by a softmax over the pair, which is the fastest axis of ``ts_attn``."""
        pooled = torch.cat((spatial, temporal), dim=-1).mean(dim=1, keepdim=True)
        share = self.ts_attn(pooled).unflatten(-1, (-1, 2)).softmax(dim=-1)  # [B, 1, C, 2]
        return temporal * share[..., 1] + spatial * share[..., 0]
