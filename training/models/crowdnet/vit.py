"""The plain vision transformer of HAP's 3D pose network, in two passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smap_train.models.layers.vit import NORM_EPS, Attention, Block

WIDTH, DEPTH, HEADS, PATCH = 768, 12, 12, 16  # ViT-B/16
_GRID = 16  # tokens a side, for crops of 256 pixels
_PADDING = 2  # officially; so the crop's last two rows and columns are never seen
_DROP_PATH = 0.3  # of the last block; grows from 0


class PatchEmbed(nn.Module):
    """Patches of the crop as tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, PATCH, _PADDING)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, 256, 256] -> [B, 256, 768], row by row."""
        return to_tokens(self.proj(image))


class HapBackbone(nn.Module):
    """ViT-B/16 without class token; pose guidance comes in after its first block."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, _GRID * _GRID + 1, WIDTH))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed = PatchEmbed()
        self.blocks = nn.ModuleList(
            Block(Attention(WIDTH, HEADS), WIDTH, drop_path=_DROP_PATH * k / (DEPTH - 1))
            for k in range(DEPTH)
        )
        self.last_norm = nn.LayerNorm(WIDTH, eps=NORM_EPS)

    def early(self, image: Tensor) -> Tensor:
        """Embedding and first block: [B, 3, 256, 256] -> [B, 768, 16, 16]."""
        # The pre-trained class token is gone; its place's embedding goes to all tokens.
        tokens = self.patch_embed(image) + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        return to_map(self.blocks[0](tokens))

    def late(self, guided: Tensor) -> Tensor:
        """The other blocks: [B, 768, 16, 16] -> the same, without a second embedding."""
        tokens = to_tokens(guided)
        for block in self.blocks[1:]:
            tokens = block(tokens)
        return to_map(self.last_norm(tokens))


def to_tokens(features: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H * W, C]."""
    return features.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor) -> Tensor:
    """[B, 256, C] -> [B, C, 16, 16]."""
    return tokens.transpose(1, 2).unflatten(-1, (_GRID, _GRID))
