"""Pictures of a track to tokens that know the past: by attention, or by a plain perceptron.

Both run whole tracks, where all pictures ask, and the newest picture alone, where the others are
remembered: what ``step`` returns as memory is what later pictures need of this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_train.models.smoother.tracks import JOINTS, PICTURE

WINDOW = 16  # pictures, the newest among them
WIDTH, BLOCKS, HEADS = 64, 2, 2
_OLDEST_S = 3.0  # ages beyond it tell the perceptron nothing more


@dataclass
class Times:
    """Who asks when.

    Attributes:
        asking: [N, Q], seconds; kept: [N, K], of the pictures that may be attended to.
        mask: bool [N, Q, K], who may be.
    """

    asking: Tensor
    kept: Tensor
    mask: Tensor


def periods(half: int) -> Tensor:
    """Speeds of rotary encoding: periods from a fifth of a second to ten."""
    return 2 * torch.pi / torch.logspace(-0.7, 1, half)


def turned(x: Tensor, times: Tensor, speed: Tensor) -> Tensor:
    """Rotary encoding of x [..., T, D] by times that broadcast to [..., T]."""
    angle = times[..., None] * speed
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Attention(nn.Module):
    """Joints to joints within a picture, and each joint to its past, mixed by learned weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 4 * width)  # spatial q, k, v and temporal q
        self.memory = nn.Linear(width, 2 * width)  # temporal k, v
        self.mix = nn.Linear(2 * width, 2)
        self.out = nn.Linear(width, width)
        self.register_buffer("speed", periods(width // heads // 2), persistent=False)

    def forward(self, x: Tensor, memory: Tensor, times: Times) -> Tensor:
        """Tokens that ask [N, Q, J, C], what is kept of those asked [N, K, J, 2 C]."""
        n, t, j, c = x.shape
        h = self.heads
        q, k, v, asking = self.inputs(x).chunk(4, -1)
        across = F.scaled_dot_product_attention(
            *(p.reshape(n * t, j, h, c // h).transpose(1, 2) for p in (q, k, v))
        )
        across = across.transpose(1, 2).reshape(n, t, j, c)
        asking, keys, values = (
            p.unflatten(-1, (h, c // h)).permute(0, 2, 3, 1, 4).flatten(1, 2)
            for p in (asking, *memory.chunk(2, -1))
        )  # [N, J H, Q or K, D]
        along = F.scaled_dot_product_attention(
            turned(asking, times.asking[:, None], self.speed),
            turned(keys, times.kept[:, None], self.speed),
            values,
            attn_mask=times.mask[:, None],
        )
        along = along.unflatten(1, (j, h)).permute(0, 3, 1, 2, 4).flatten(3)
        share = self.mix(torch.cat([across, along], -1)).softmax(-1)
        mixed: Tensor = self.out(share[..., :1] * across + share[..., 1:] * along)
        return mixed


class Block(nn.Module):
    """Attention and a perceptron, with residuals."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def remember(self, x: Tensor) -> Tensor:
        """What later pictures need of tokens: [N, T, J, 2 C]."""
        kept: Tensor = self.attention.memory(self.norm_a(x))
        return kept

    def forward(self, x: Tensor, memory: Tensor, times: Times) -> Tensor:
        """See :class:`Attention`."""
        x = x + self.attention(self.norm_a(x), memory, times)
        y: Tensor = x + self.perceptron(self.norm_b(x))
        return y


class Embedding(nn.Module):
    """A picture's person as tokens, each with weights of its own: errors differ by joint."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(PICTURE, JOINTS * width)
        self.hidden = nn.Sequential(nn.Linear(PICTURE, 128), nn.GELU(), nn.Dropout(dropout))
        self.second = nn.Linear(128, JOINTS * width)

    def forward(self, features: Tensor) -> Tensor:
        """[N, T, PICTURE] to [N, T, 15, C]."""
        tokens = self.first(features) + self.second(self.hidden(features))
        out: Tensor = tokens.unflatten(-1, (JOINTS, self.width))
        return out


class MaedEncoder(nn.Module):
    """Spatial and temporal attention in parallel."""

    memory = JOINTS * BLOCKS * 2 * WIDTH  # numbers that are kept of a picture

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = Embedding(WIDTH, dropout)
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS, dropout) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, features: Tensor, times: Times) -> Tensor:
        """[N, T, PICTURE] to [N, T, 15, C]."""
        x = self.embedding(features)
        for block in self.blocks:
            x = block(x, block.remember(x), times)
        out: Tensor = self.norm(x)
        return out

    def step(self, features: Tensor, memory: Tensor, times: Times) -> tuple[Tensor, Tensor]:
        """Newest pictures [N, 1, PICTURE], given [N, W - 1, memory]; tokens, and own memory."""
        x = self.embedding(features)
        new = []
        kept = memory.unflatten(-1, (JOINTS, BLOCKS, 2 * WIDTH))
        for k, block in enumerate(self.blocks):
            new.append(block.remember(x))
            x = block(x, torch.cat([kept[:, :, :, k], new[-1]], 1), times)
        return self.norm(x), torch.stack(new, 3).flatten(2)


class WindowMlp(nn.Module):
    """A perceptron over the window: what attention must beat."""

    memory = PICTURE

    def __init__(self, dropout: float, hidden: int = 288, told: int = 24) -> None:
        super().__init__()
        self.told = told
        self.layers = nn.Sequential(
            nn.Linear(WINDOW * (PICTURE + 2), hidden), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(hidden, JOINTS * told),
        )  # fmt: skip
        self.spread = nn.Linear(told, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, features: Tensor, times: Times) -> Tensor:
        """[N, T, PICTURE] to [N, T, 15, C]."""
        order = torch.arange(features.shape[1], device=features.device)
        rows = order[:, None] - torch.arange(WINDOW, device=features.device)  # [T, W]
        there = times.mask.gather(2, rows.clamp(min=0).expand(len(features), -1, -1))
        there = (there & (rows >= 0)).float()
        rows = rows.clamp(min=0)
        return self._tokens(features[:, rows], times.asking[..., None] - times.kept[:, rows], there)

    def step(self, features: Tensor, memory: Tensor, times: Times) -> tuple[Tensor, Tensor]:
        """See :meth:`MaedEncoder.step`."""
        newest_first = times.kept[0].argsort(descending=True)
        window = torch.cat([memory, features], 1)[:, newest_first][:, None]
        age = (times.asking[..., None] - times.kept[:, None])[..., newest_first]
        there = times.mask[..., newest_first].float()
        return self._tokens(window, age, there), features

    def _tokens(self, window: Tensor, age: Tensor, there: Tensor) -> Tensor:
        """Windows [N, Q, W, PICTURE], newest first, with ages and presence [N, Q, W]."""
        age = age.clamp(max=_OLDEST_S) * there
        x = torch.cat([window * there[..., None], age[..., None], there[..., None]], -1)
        told = self.layers(x.flatten(2)).unflatten(-1, (JOINTS, self.told))
        out: Tensor = self.norm(self.spread(told))
        return out


ENCODERS: dict[str, type[MaedEncoder] | type[WindowMlp]] = {"maed": MaedEncoder, "mlp": WindowMlp}
