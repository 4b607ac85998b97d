"""MAED's spatio-temporal encoder (STE): frames to one feature each.

A convolutional front end makes 14 x 14 tokens of each frame; transformer blocks mix them within
the frames and along time.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.models.layers.resnetv2 import STAGE_WIDTHS, STRIDE, ResNetV2
from smap_train.models.layers.vit import NORM_EPS, Block
from smap_train.models.maed.attention import Mode, SpatioTemporalAttention

MAX_FRAMES = 16  # learned temporal positions
_TIMELESS = ("vanilla", "temporal")  # modes without them
_INIT_STD = 0.02


class PatchEmbed(nn.Module):
    """Frames to tokens: the convolutional front end and a 1x1 projection."""

    def __init__(self, width: int, blocks: tuple[int, int, int]) -> None:
        super().__init__()
        self.backbone = ResNetV2(blocks)
        self.proj = nn.Conv2d(STAGE_WIDTHS[-1], width, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, H/16 * W/16, C], row by row."""
        return self.proj(self.backbone(frames)).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """Spatio-temporal encoder.

    Args:
        mode: how attention spans space and time, see ``SpatioTemporalAttention``.
        image_size: height and width of a frame, a multiple of 16.
        width, depth, heads: of the transformer.
        blocks: of the front end's three stages.
    """

    def __init__(
        self,
        mode: Mode,
        image_size: int,
        width: int,
        depth: int,
        heads: int,
        blocks: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.image_size = image_size
        tokens = (image_size // STRIDE) ** 2
        self.cls_token = nn.Parameter(_INIT_STD * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(_INIT_STD * torch.randn(1, 1 + tokens, width))
        if mode in _TIMELESS:
            self.temp_embed = None
        else:
            self.temp_embed = nn.Parameter(_INIT_STD * torch.randn(1, MAX_FRAMES, 1, width))
        self.patch_embed = PatchEmbed(width, blocks)
        self.blocks = nn.ModuleList(
            Block(SpatioTemporalAttention(width, heads, mode), width) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pre_logits = nn.Sequential(OrderedDict(fc=nn.Linear(width, width), act=nn.Tanh()))

    def tokens(self, frames: Tensor) -> Tensor:
        """What each frame gives on its own: [B, 3, S, S] -> [B, P, C], P = (S / 16)^2.

        Raises:
            InputError: if the frames have another size.
        """
        size = (3, self.image_size, self.image_size)
        if frames.ndim != 4 or tuple(frames.shape[1:]) != size:
            raise InputError(f"frames: got shape {tuple(frames.shape)}, expected (frames, {size})")
        tokens: Tensor = self.patch_embed(frames)
        return tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix the tokens of clips.

        Args:
            tokens: of N clips of T frames, [N, T, P, C].

        Returns:
            One feature a frame, [N * T, C].

        Raises:
            InputError: if the clips are longer than the temporal positions learned.
        """
        length = tokens.shape[1]
        if self.temp_embed is not None and length > MAX_FRAMES:
            raise InputError(
                f"a clip of {length} frames; this encoder has learned positions of {MAX_FRAMES}. "
                "Cut the video into windows"
            )
        x = tokens.flatten(0, 1)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        if self.temp_embed is not None:
            x = (x.unflatten(0, (-1, length)) + self.temp_embed[:, :length]).flatten(0, 1)
        for block in self.blocks:
            x = block(x, length)
        feature: Tensor = self.pre_logits(self.norm(x)[:, 0])
        return feature
