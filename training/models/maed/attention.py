"""Spatio-temporal self-attention, in MAED's five modes.

Tokens of all frames lie in one batch, frame index = n * T + t for frame t of clip n: x is
[N * T, P, C] with P tokens a frame, the class token first. The parameters are those of plain
attention; only ``parallel`` has one layer more.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from smap_train.models.layers.vit import attend, split_heads

Mode = Literal["parallel", "series", "coupling", "vanilla", "temporal"]
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
            return self._within(self.qkv(x))
        if self.mode == "temporal":
            return self._along_time(self.qkv(x.mean(dim=1, keepdim=True)), length)
        if self.mode == "coupling":
            clips = self.qkv(x).unflatten(0, (-1, length)).flatten(1, 2)  # [N, T * P, 3C]
            return self._within(clips).unflatten(1, (length, -1)).flatten(0, 1)
        if self.mode == "series":
            return self._along_time(self.qkv(self._within(self.qkv(x))), length)
        qkv = self.qkv(x)
        return self._blend(self._within(qkv), self._along_time(qkv, length))

    def _within(self, qkv: Tensor) -> Tensor:
        """Over the tokens of each batch entry: [B, P, 3C] -> [B, P, C]."""
        return attend(*split_heads(qkv, self.heads))

    def _along_time(self, qkv: Tensor, length: int) -> Tensor:
        """Over the frames of a clip, each token index for itself: as ``_within``."""
        tokens = qkv.shape[1]
        tracks = qkv.unflatten(0, (-1, length)).transpose(1, 2).flatten(0, 1)  # [N * P, T, 3C]
        mixed = self._within(tracks).unflatten(0, (-1, tokens))  # [N, P, T, C]
        return mixed.transpose(1, 2).flatten(0, 1)

    def _blend(self, spatial: Tensor, temporal: Tensor) -> Tensor:
        """Weighted by a softmax over the pair, which is the fastest axis of ``ts_attn``."""
        pooled = torch.cat((spatial, temporal), dim=-1).mean(dim=1, keepdim=True)
        share = self.ts_attn(pooled).unflatten(-1, (-1, 2)).softmax(dim=-1)  # [B, 1, C, 2]
        return temporal * share[..., 1] + spatial * share[..., 0]
