"""Blocks of vision transformers (Dosovitskiy et al., ICLR 2021) in the layout of timm.

Tokens are [B, N, C]. Module names give the state-dict keys that MAED's and HAP's official
checkpoints have: ``norm1``, ``attn.qkv``, ``attn.proj``, ``norm2``, ``mlp.fc1``, ``mlp.fc2``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6
MLP_RATIO = 4


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values out of one projection.

    Args:
        qkv: [..., N, 3 * C]; channels in the order (q, k, v) x head x channel of the head.
        heads: number of heads, a divisor of C.

    Returns:
        Three tensors [..., heads, N, C / heads].
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).unbind(-3)
    return q.transpose(-2, -3), k.transpose(-2, -3), v.transpose(-2, -3)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention with the heads joined: 3 x [..., h, N, d] -> [..., N, h * d]."""
    return F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        y: Tensor = self.proj(attend(*split_heads(self.qkv(x), self.heads)))
        return y


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class Block(nn.Module):
    """Pre-norm transformer block: x += attn(LN(x)); x += mlp(LN(x)).

    Args:
        attn: the attention, ``Attention(width, heads)`` or another one of the same width.
        width: channels C of a token.
        mlp_ratio: hidden width of the MLP over C.
        drop_path: probability with which a branch is left out for a sample, in training mode
            only (stochastic depth, Huang et al., ECCV 2016).
    """

    def __init__(
        self, attn: nn.Module, width: int, mlp_ratio: int = MLP_RATIO, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = attn
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, mlp_ratio * width)
        self.drop_path = drop_path

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """[B, N, C] -> [B, N, C]; ``context`` goes to the attention as further arguments."""
        x = x + self._drop(self.attn(self.norm1(x), *context))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = torch.rand(branch.shape[0], *(1,) * (branch.ndim - 1), device=branch.device) < keep
        return branch * kept / keep
