"""The masked autoencoder: a vision transformer that sees some patches and paints the others.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022. Module names are those
of HAP's and MAE's official checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_train.models.layers.vit import NORM_EPS, Attention, Block

PATCH = 16
IMAGE_SIZE = (256, 128)  # height and width, officially
_TOKEN_STD = 0.02
_WAVELENGTH = 10_000.0


class MaskedView(NamedTuple):
    """What the autoencoder makes of one masked view.

    Attributes:
        token: class token after the encoder, [B, width].
        patches: painted patches, [B, N, 16 * 16 * 3], as ``patchify`` gives them.
        mask: 1 where a patch was hidden, [B, N].
    """

    token: Tensor
    patches: Tensor
    mask: Tensor


class _PatchEmbed(nn.Module):
    """Patches of the image as tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        nn.init.xavier_uniform_(self.proj.weight.view(width, -1))

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, N, width], row by row."""
        tokens: Tensor = self.proj(image)
        return tokens.flatten(2).transpose(1, 2)


class HapPretraining(nn.Module):
    """HAP's masked autoencoder; the defaults are the official ViT-B/16.

    Input: float32 [B, 3, H, W], RGB crops of people, ImageNet-normalised.

    Args:
        image_size: H and W, multiples of 16.
        width: channels of the encoder, ``depth`` its blocks, ``heads`` its attention heads.
        decoder_width: channels of the decoder; ``decoder_depth`` and ``decoder_heads`` alike.

    Raises:
        InputError: if the image isn't made of whole patches.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = IMAGE_SIZE,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
    ) -> None:
        super().__init__()
        if any(side % PATCH for side in image_size):
            raise InputError(f"image size {image_size}: expected multiples of {PATCH}")
        self.grid = (image_size[0] // PATCH, image_size[1] // PATCH)
        self.cls_token = nn.Parameter(_TOKEN_STD * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(position_embedding(self.grid, width), requires_grad=False)
        self.patch_embed = _PatchEmbed(width)
        self.blocks = _blocks(depth, width, heads)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(_TOKEN_STD * torch.randn(1, 1, decoder_width))
        self.decoder_pos_embed = nn.Parameter(
            position_embedding(self.grid, decoder_width), requires_grad=False
        )
        self.decoder_blocks = _blocks(decoder_depth, decoder_width, decoder_heads)
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=NORM_EPS)
        self.decoder_pred = nn.Linear(decoder_width, 3 * PATCH * PATCH)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor, priorities: Tensor, ratio: float = 0.5) -> MaskedView:
        """Hide patches and paint them.

        Args:
            image: [B, 3, H, W].
            priorities: [B, N], see ``masks.mask_priorities``; the highest are hidden.
            ratio: share of the patches that are hidden.
        """
        order = priorities.argsort(dim=1)
        shown = order[:, : int(order.shape[1] * (1 - ratio))]
        encoded = self._encode(image, shown)
        mask = torch.ones_like(priorities).scatter(1, shown, 0.0)
        return MaskedView(encoded[:, 0], self._decode(encoded, order), mask)

    def _encode(self, image: Tensor, shown: Tensor) -> Tensor:
        """Class token and shown patches: [B, 3, H, W], [B, M] -> [B, 1 + M, width]."""
        tokens = _pick(self.patch_embed(image) + self.pos_embed[:, 1:], shown)
        token = (self.cls_token + self.pos_embed[:, :1]).expand(len(image), -1, -1)
        encoded: Tensor = self.norm(self.blocks(torch.cat([token, tokens], dim=1)))
        return encoded

    def _decode(self, encoded: Tensor, order: Tensor) -> Tensor:
        """All patches from the shown ones, which come first in ``order``: [B, N, 768]."""
        x = self.decoder_embed(encoded)
        hidden = self.mask_token.expand(len(x), order.shape[1] + 1 - x.shape[1], -1)
        patches = _pick(torch.cat([x[:, 1:], hidden], dim=1), order.argsort(dim=1))
        x = torch.cat([x[:, :1], patches], dim=1) + self.decoder_pos_embed
        painted: Tensor = self.decoder_pred(self.decoder_norm(self.decoder_blocks(x)))
        return painted[:, 1:]


def patchify(image: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, N, 16 * 16 * 3]: patches row by row, pixels row by row, then colour."""
    b, _, h, w = image.shape
    cells = image.view(b, 3, h // PATCH, PATCH, w // PATCH, PATCH)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 3 * PATCH * PATCH)


def position_embedding(grid: tuple[int, int], width: int) -> Tensor:
    """Sines and cosines of column and row at geometric wavelengths, [1, 1 + N, width].

    The class token's is zero.

    Raises:
        InputError: if the width isn't a multiple of 4.
    """
    if width % 4:
        raise InputError(f"width {width}: expected a multiple of 4")
    rows, columns = (torch.arange(n, dtype=torch.float32) for n in grid)
    rates = _WAVELENGTH ** (-torch.arange(width // 4, dtype=torch.float32) / (width // 4))
    across = (columns[:, None] * rates).expand(grid[0], -1, -1).flatten(0, 1)
    down = (rows[:, None, None] * rates).expand(-1, grid[1], -1).flatten(0, 1)
    patches = torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=1)
    return F.pad(patches, (0, 0, 1, 0))[None]


def encoder_weights(
    pretrained: Mapping[str, Tensor], source: tuple[int, int], target: tuple[int, int]
) -> dict[str, Tensor]:
    """The encoder of a pre-trained autoencoder under the names of ``crowdnet.vit.HapBackbone``.

    Args:
        pretrained: state dict of ``HapPretraining``.
        source: its rows and columns of patches.
        target: those of the network to fill; embeddings are resized bicubically.

    Returns:
        A state dict to load strictly.
    """
    weights = {
        key.replace("norm.", "last_norm.", 1) if key.startswith("norm.") else key: value
        for key, value in pretrained.items()
        if key.startswith(("patch_embed.", "blocks.", "norm."))
    }
    weights["pos_embed"] = resized_embedding(pretrained["pos_embed"], source, target)
    return weights


def resized_embedding(
    embedding: Tensor, source: tuple[int, int], target: tuple[int, int]
) -> Tensor:
    """A position embedding [1, 1 + N, C] for another grid of patches, bicubically.

    Raises:
        InputError: if it isn't one of the first grid.
    """
    count = 1 + source[0] * source[1]
    if embedding.ndim != 3 or embedding.shape[:2] != (1, count):
        raise InputError(
            f"its pos_embed is {list(embedding.shape)}; expected [1, {count}, width], for "
            f"{source[0]} x {source[1]} patches. Take weights of that size"
        )
    token, patches = embedding[:, :1], embedding[:, 1:]
    planes = patches.transpose(1, 2).reshape(1, -1, *source)
    resized = F.interpolate(planes, size=target, mode="bicubic", align_corners=False)
    return torch.cat([token, resized.flatten(2).transpose(1, 2)], dim=1)


def _blocks(depth: int, width: int, heads: int) -> nn.Sequential:
    return nn.Sequential(*(Block(Attention(width, heads), width) for _ in range(depth)))


def _pick(tokens: Tensor, index: Tensor) -> Tensor:
    """[B, N, C] at [B, M] -> [B, M, C]."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
