"""From tokens to people: along the kinematic tree, one set of bone lengths, a root's path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_train.models.smoother.encoders import Times, periods, turned
from smap_train.models.smoother.tracks import (
    BEFORE,
    BONES,
    CHILDREN,
    JOINTS,
    LEVELS,
    ROOT,
    Looks,
    Past,
    rays_of,
)

DELAYS = (0, 2, 4)
KEY = 16  # numbers by which pictures of the window are chosen
_HEADS = len(BONES) + 2  # what is averaged over the window: bones, root's direction, its depth
_FORGETS = 0.998  # weight of a picture's bone lengths after the next one
_HIDDEN = 32
# Of the root's direction and its depth: squared seconds that keep noise from tilting their lines,
# and which of their three numbers move; the size doesn't.
_RIDGES = [[[0.03**2]], [[0.25**2]]]
_MOVES = [[[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]]
_NEAR_S = 0.15  # time constant by which, at first, weight falls with the distance in time


def _chain() -> Tensor:
    """float32 [15, 14]: 1 where a bone leads from the pelvis to a joint."""
    chain = torch.zeros(JOINTS, len(BONES))
    for k, (parent, child) in enumerate(BONES):
        chain[child] = chain[parent]
        chain[child, k] = 1
    return chain


@dataclass
class Answer:
    """People told.

    Attributes:
        about: [N, Q, 15, 3], joints about the pelvis, camera's axes, metres.
        root: [N, Q, 3], pelvis, metres.
        variance: [N, Q, 15], logarithm of that of each joint about the pelvis, metres squared.
    """

    about: Tensor
    root: Tensor
    variance: Tensor


def mean_lengths(terms: Tensor, order: Tensor) -> Tensor:
    """Sums of [N, T, 15, 2] over the pictures so far, old ones fading: [N, T, 15, 2]."""
    back = (order[:, None] - order).float()
    kept = torch.where(back >= 0, _FORGETS ** back.clamp(min=0), torch.zeros(()))
    return torch.einsum("ts,nskc->ntkc", kept, terms)


class PerBone(nn.Module):
    """A perceptron for each of some bones: [..., K, I] to [..., K, 3]."""

    def __init__(self, bones: int, inputs: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(bones, inputs, _HIDDEN) / math.sqrt(inputs))
        self.offset = nn.Parameter(torch.zeros(bones, _HIDDEN))
        self.second = nn.Parameter(0.02 * torch.randn(bones, _HIDDEN, 3))
        self.offset_b = nn.Parameter(torch.zeros(bones, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Every bone by its own."""
        y = F.gelu(torch.einsum("...ki,kih->...kh", x, self.first) + self.offset)
        return torch.einsum("...kh,kho->...ko", y, self.second) + self.offset_b


class Decoder(nn.Module):
    """Along the kinematic tree, from tokens at a picture to people ``delay`` before it.

    Three buffers are no weights: they are nothing while it learns, and
    :func:`smap_train.smoother.calibration.calibrate` sets them when it has. ``prior``, [15, 2]:
    what the sums of lengths begin with; ``depth_bias``, [len(DELAYS)]: to be taken off log depths;
    ``variance_bias``, [len(DELAYS), 15]: to be added to the variances.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.now, self.then = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.delay = nn.Parameter(0.02 * torch.randn(len(DELAYS), JOINTS, width))
        self.norm = nn.LayerNorm(width)
        # Of each joint for its bone; the pelvis, without one, has two for the root's two.
        self.keys, self.queries = nn.Linear(width, 2 * KEY), nn.Linear(width, 2 * KEY)
        self.near = nn.Parameter(torch.full((len(DELAYS), _HEADS), math.log(_NEAR_S)))
        self.corrections = nn.ModuleList(PerBone(len(level), width + 6) for level in LEVELS)
        self.length = nn.Linear(width, 2)
        self.root = nn.Sequential(nn.Linear(2 * width, 64), nn.GELU(), nn.Linear(64, 4))
        self.variance = nn.Linear(width, 1)
        self.register_buffer("speed", periods(KEY // 2), persistent=False)
        self.register_buffer("chain", _chain(), persistent=False)
        for name, shape in (
            ("prior", (JOINTS, 2)),
            ("depth_bias", (len(DELAYS),)),
            ("variance_bias", (len(DELAYS), JOINTS)),
        ):
            self.register_buffer(name, torch.zeros(shape), persistent=False)
        for layer in (self.keys, self.queries, self.length, self.root[-1]):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def length_terms(self, x: Tensor, looks: Looks) -> Tensor:
        """What a picture adds to the sums of lengths: weight, and weighted log length.

        Returns:
            [N, T, 15, 2]: the bones, and last the whole person's size, which ties the depth.
        """
        change, weight = self.length(x[..., [*CHILDREN, ROOT], :]).unbind(-1)
        past = looks.past
        seen = torch.cat([past[..., 3 * len(BONES) : 4 * len(BONES)], past[..., -1:]], -1)
        weight = weight.clamp(-6, 6).exp() * seen
        value = looks.lengths.clamp(min=0.02).log() + 0.3 * torch.tanh(change[..., :-1])
        value = torch.cat([value, past[..., -2:-1]], -1)
        return torch.stack([weight, weight * value], -1)

    def more_lengths(self, sums: Tensor, terms: Tensor) -> Tensor:
        """Sums [N, 15, 2] with the next picture's."""
        return _FORGETS * sums + terms

    def remember(self, x: Tensor) -> Tensor:
        """What later pictures need of tokens [N, T, J, C] to choose them: [N, T, J, 2 KEY]."""
        keys: Tensor = self.keys(x)
        return keys

    def forward(
        self, x: Tensor, keys: Tensor, past: Past, times: Times, targets: list[Tensor],
        target_times: list[Tensor], target_roots: list[Tensor], sums: Tensor,
        which: Sequence[int] = range(len(DELAYS)),
    ) -> list[Answer]:  # fmt: skip
        """Answers for some of DELAYS.

        Args:
            x: [N, Q, J, C] of those who ask.
            keys: [N, K, J, 2 KEY] of the pictures that may be chosen; past and times: theirs.
            which: of DELAYS, by index.
            targets, target_times, target_roots: for each of these the tokens [N, Q, J, C], times
                [N, Q] and raw x/z, y/z, log z [N, Q, 3] of the picture that is asked for.
            sums: [N, Q, 15, 2] of the lengths.
        """
        now = self.now(x)
        x = torch.stack(
            [
                now + self.then(token) + self.delay[k]
                for k, token in zip(which, targets, strict=True)
            ],
            1,
        )
        x = self.norm(x)  # [N, D, Q, J, C]
        means = self._means(x, keys, past, times, target_times, which)  # [N, D, Q, heads, 3]
        rays = rays_of(torch.stack(target_roots, 1))  # [N, D, Q, 3, 3]
        sums = sums + self.prior
        settled = sums[..., 1] / sums[..., 0].clamp(min=1e-6)
        settled = torch.where(sums[..., 0] > 1e-6, settled, math.log(0.25))[
            :, None
        ]  # [N, 1, Q, 15]
        bones = self._directions(x, means[..., : len(BONES), :] @ rays)
        bones = (bones * settled[..., : len(BONES), None].exp()) @ rays.transpose(-1, -2)
        about = torch.einsum("jk,...kc->...jc", self.chain, bones)
        root = self._root(x, means, settled[..., -1], self.depth_bias[list(which), None])
        variance = self.variance(x)[..., 0].clamp(-10, 2) + self.variance_bias[list(which), None]
        return [Answer(about[:, k], root[:, k], variance[:, k]) for k in range(len(which))]

    def _means(
        self, x: Tensor, keys: Tensor, past: Past, times: Times, target_times: list[Tensor],
        which: Sequence[int],
    ) -> Tensor:  # fmt: skip
        """What the window says, by attention: [N, D, Q, 16, 3], bones in the camera's axes."""
        asks = _by_head(self.queries(x))  # [N, D, heads, Q, KEY]
        then = torch.stack(target_times, 1)  # [N, D, Q]
        asks = turned(asks, then[:, :, None], self.speed)
        held = turned(_by_head(keys), times.kept[:, None], self.speed)  # [N, heads, K, KEY]
        logits = asks @ held[:, None].transpose(-1, -2) / math.sqrt(KEY)  # [N, D, heads, Q, K]
        apart = (then[..., None] - times.kept[:, None, None]).abs()  # [N, D, Q, K]
        logits = logits - apart[:, :, None] / self.near[list(which)].exp()[:, :, None, None]
        there = torch.cat([past.present, past.seen[..., None].expand(-1, -1, 2)], -1)
        there = there.transpose(1, 2)[:, None, :, None]  # [N, 1, heads, 1, K]
        logits = logits + (there - 1) * 1e4
        logits = logits.masked_fill(~times.mask[:, None, None], -1e9)
        values = torch.cat(
            [
                past.bones,
                past.root[..., None, :] * torch.tensor([1.0, 1.0, 0.0]),
                torch.stack([past.root[..., 2], past.size, torch.zeros_like(past.size)], -1)[
                    ..., None, :
                ],
            ],
            -2,
        )  # [N, K, heads, 3]
        weights, values = logits.softmax(-1), values.transpose(1, 2)[:, None]
        means = weights @ values
        since = (times.kept[:, None, None] - then[..., None])[:, :, None]  # [N, D, 1, Q, K]
        root = _line(weights[..., -2:, :, :], values[..., -2:, :, :], means[..., -2:, :, :], since)
        return torch.cat([means[..., :-2, :, :], root], 2).transpose(2, 3)

    def _directions(self, x: Tensor, mean: Tensor) -> Tensor:
        """Unit directions [N, D, Q, 14, 3] in the ray's frame, from the pelvis outwards."""
        decoded: list[Tensor | None] = [None] * len(BONES)
        for level, correction in zip(LEVELS, self.corrections, strict=True):
            before = [decoded[BEFORE[k]] if BEFORE[k] >= 0 else None for k in level]
            parents = torch.stack(
                [torch.zeros_like(mean[..., 0, :]) if b is None else b for b in before], -2
            )
            tokens = x[..., [CHILDREN[k] for k in level], :]
            mine = mean[..., level, :]
            directions = mine + 0.3 * correction(torch.cat([tokens, mine, parents], -1))
            directions = F.normalize(directions, dim=-1)
            for place, k in enumerate(level):
                decoded[k] = directions[..., place, :]
        return torch.stack([d for d in decoded if d is not None], -2)

    def _root(self, x: Tensor, means: Tensor, settled: Tensor, bias: Tensor) -> Tensor:
        """Pelvises [N, D, Q, 3], metres.

        The size on the retina is known better than the depth, and a person's size is constant: a
        share of each picture's deviation from the settled size is taken for an error of depth.
        """
        direction, depth = means[..., -2, :2], means[..., -1, :]
        told = self.root(torch.cat([x.mean(-2), x[..., ROOT, :]], -1))
        direction = direction + 0.05 * told[..., :2]
        share = torch.sigmoid(told[..., 3] - 1)
        log_z = depth[..., 0] - share * (depth[..., 1] - settled) + 0.3 * torch.tanh(told[..., 2])
        log_z = log_z - bias
        z = log_z.clamp(-3, 5).exp()[..., None]
        return torch.cat([direction * z, z], -1)


def _line(weights: Tensor, values: Tensor, means: Tensor, since: Tensor) -> Tensor:
    """The root's means, [..., 2, Q, 3], moved to the time asked for along a fitted line.

    A mean of the past lags behind whoever walks; the weighted least-squares line doesn't. Where
    the pictures lie close together in time, noise would tilt it: the more so the depth's.
    """
    moment = weights * since
    middle = moment.sum(-1, keepdim=True)
    spread = (moment * since).sum(-1, keepdim=True) - middle.square()
    slope = (moment @ values - middle * means) / (spread.clamp(min=0) + means.new_tensor(_RIDGES))
    return means - middle * slope * means.new_tensor(_MOVES)


def _by_head(keys: Tensor) -> Tensor:
    """[..., T, J, 2 KEY] to [..., heads, T, KEY]."""
    bones = keys[..., CHILDREN, :KEY]
    root = keys[..., ROOT, :].unflatten(-1, (2, KEY))
    return torch.cat([bones, root], -2).transpose(-2, -3)
