"""The learned smoother: MAED's spatial and temporal attention on skeletons, online.

Tokens are the joints of each picture. In every block joints attend to one another and each joint to
itself in the pictures before, in parallel, mixed by learned weights (MAED's multi-level attention);
temporal attention is causal, turned by the time between pictures (rotary encoding of seconds), and
reaches back :data:`WINDOW` pictures, so that keys and values can be kept. Decoding goes along the
kinematic tree: a bone's direction is told by its joint's token and what was decoded of the bone
before it. Directions are weighted means of the last raw ones plus a small correction; lengths are
one set a track, the mean of all pictures so far; direction and depth of the pelvis are a path of
their own. One network answers for the picture 0, 2 or 4 back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.skeletons import MPI15

JOINTS, ROOT = len(MPI15), MPI15.root
WINDOW = 16
DELAYS = (0, 2, 4)


def _tree() -> tuple[list[tuple[int, int]], list[int]]:
    """Bones (parent, joint) from the pelvis outwards, and the bone before each (-1: none)."""
    bones: list[tuple[int, int]] = []
    reached = [ROOT]
    for joint in reached:
        for a, b in MPI15.limbs:
            for parent, child in ((a, b), (b, a)):
                if parent == joint and child not in reached:
                    bones.append((parent, child))
                    reached.append(child)
    ends = [child for _, child in bones]
    return bones, [ends.index(parent) if parent in ends else -1 for parent, _ in bones]


BONES, BEFORE = _tree()
FEATURES = 3 + 3 + 1 + 1  # joint about the pelvis, bone direction, score, present
ROOT_FEATURES = 5  # x/z, y/z, log depth, log of the bones' size, seconds since the last picture


@dataclass
class Track:
    """Raw tracks as the network sees them: N tracks of T pictures.

    Attributes:
        joints: [N, T, 15, FEATURES] in the frame of the ray to the pelvis.
        root: [N, T, ROOT_FEATURES].
        bones: [N, T, 14, 3], unit raw directions, zero where missing; lengths: [N, T, 14], metres.
        present: [N, T, 14], whether a bone was seen; seen: [N, T], whether the person was.
        rays: [N, T, 3, 3], ray frame to camera.
        times: [N, T], seconds.
    """

    joints: Tensor
    root: Tensor
    bones: Tensor
    lengths: Tensor
    present: Tensor
    seen: Tensor
    rays: Tensor
    times: Tensor


def ray_frames(position: Tensor) -> Tensor:
    """Rotations [..., 3, 3] to the camera from the frame whose z points at a position [..., 3]."""
    z = F.normalize(position, dim=-1)
    down = torch.tensor([0.0, 1.0, 0.0]).expand_as(z)
    x = F.normalize(torch.cross(down, z, dim=-1), dim=-1)
    return torch.stack([x, torch.cross(z, x, dim=-1), z], dim=-1)


def encode(found: Tensor, scores: Tensor, times: Tensor) -> Track:
    """What was found of people as input: found [N, T, 15, 3] with NaN, scores, times."""
    present = torch.isfinite(found).all(-1) & (scores > 0)  # [N, T, 15]
    seen = present[..., ROOT] & (found[..., ROOT, 2] > 0.05)
    position = torch.where(seen[..., None], found[..., ROOT, :], torch.tensor([0.0, 0.0, 3.0]))
    position = torch.nan_to_num(position, nan=1.0)
    rays = ray_frames(position)
    about = torch.nan_to_num(found - position[..., None, :])
    about = torch.einsum("ntjc,ntcd->ntjd", about, rays)  # into the ray's frame
    present = present & seen[..., None]
    about = about * present[..., None]
    parents, children = (torch.tensor(ends) for ends in zip(*BONES, strict=True))
    both = present[..., parents] & present[..., children]
    bone = (about[..., children, :] - about[..., parents, :]) * both[..., None]
    length = bone.norm(dim=-1)
    direction = bone / length.clamp(min=1e-3)[..., None]
    at_joint = torch.zeros_like(about)
    at_joint[..., children, :] = direction
    features = torch.cat(
        [about, at_joint, (scores * present)[..., None], present.float()[..., None]], dim=-1
    )
    z = position[..., 2].clamp(min=0.05)
    size = (length * both).sum(-1) / both.sum(-1).clamp(min=1)
    step = F.pad(times[:, 1:] - times[:, :-1], (1, 0))
    root = torch.stack(
        [position[..., 0] / z, position[..., 1] / z, z.log(), size.clamp(min=0.05).log(), step], -1
    )
    root = root * seen[..., None]
    return Track(features, root, direction, length, both, seen, rays, times)


class Attention(nn.Module):
    """Joints to joints within a picture, and each joint to its past, mixed by learned weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.spatial, self.temporal = nn.Linear(width, 3 * width), nn.Linear(width, 3 * width)
        self.mix = nn.Linear(2 * width, 2)
        self.out = nn.Linear(width, width)
        half = width // heads // 2
        # Periods from a tenth of a second to ten.
        self.register_buffer("speed", 2 * math.pi / torch.logspace(-1, 1, half))

    def forward(self, x: Tensor, times: Tensor, mask: Tensor) -> Tensor:
        """Tokens x [N, T, J, C], times [N, T], mask [N, T, T]: who may attend to whom."""
        n, t, j, c = x.shape
        h, d = self.heads, c // self.heads
        q, k, v = self.spatial(x).reshape(n, t, j, 3, h, d).permute(3, 0, 1, 4, 2, 5)
        across = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, t, j, c)
        q, k, v = self.temporal(x).reshape(n, t, j, 3, h, d).permute(3, 0, 2, 4, 1, 5)
        angle = times[..., None] * self.speed  # [N, T, half]
        q, k = self._turned(q, angle), self._turned(k, angle)
        along = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        along = along.permute(0, 3, 1, 2, 4).reshape(n, t, j, c)
        share = self.mix(torch.cat([across, along], -1)).softmax(-1)
        return self.out(share[..., :1] * across + share[..., 1:] * along)

    def _turned(self, x: Tensor, angle: Tensor) -> Tensor:
        """Rotary encoding of x [N, J, H, T, D]."""
        a, b = x.chunk(2, -1)
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """Attention and a perceptron, with residuals."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, times: Tensor, mask: Tensor) -> Tensor:
        """See :class:`Attention`."""
        x = x + self.attention(self.norm_a(x), times, mask)
        return x + self.perceptron(self.norm_b(x))


class MaedEncoder(nn.Module):
    """Tokens of joints and pictures to tokens that know the past."""

    def __init__(self, width: int = 64, blocks: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.joint = nn.Linear(FEATURES, width)
        self.root = nn.Linear(ROOT_FEATURES, width)
        self.place = nn.Parameter(0.02 * torch.randn(JOINTS, width))
        self.blocks = nn.ModuleList(Block(width, heads, 0.1) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, track: Track) -> Tensor:
        """[N, T, 15, C]."""
        x = self.joint(track.joints) + self.root(track.root)[:, :, None] + self.place
        t = x.shape[1]
        back = torch.arange(t)[:, None] - torch.arange(t)
        causal = (back >= 0) & (back < WINDOW)
        own = back == 0
        mask = causal & (track.seen[:, None, :] | own)
        for block in self.blocks:
            x = block(x, track.times, mask)
        return self.norm(x)


class WindowMlp(nn.Module):
    """The same from a plain perceptron over the last pictures: what attention must beat."""

    def __init__(self, width: int = 64, hidden: int = 384) -> None:
        super().__init__()
        self.width = width
        per_picture = JOINTS * FEATURES + ROOT_FEATURES + 1
        self.layers = nn.Sequential(
            nn.Linear(WINDOW * per_picture, hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, 256), nn.GELU(),
        )  # fmt: skip
        self.joints = nn.Linear(256, JOINTS * 24)
        self.spread = nn.Linear(24, width)

    def forward(self, track: Track) -> Tensor:
        """[N, T, 15, C]."""
        flat = torch.cat([track.joints.flatten(2), track.root], -1)
        windows = _windows(flat)  # [N, T, W, F]
        age = _windows(track.times[..., None])
        age = track.times[:, :, None, None] - age
        x = self.layers(torch.cat([windows, age], -1).flatten(2))
        n, t = x.shape[:2]
        return self.spread(self.joints(x).reshape(n, t, JOINTS, 24))


def _windows(x: Tensor) -> Tensor:
    """The last WINDOW pictures of each, newest first: [N, T, F] to [N, T, W, F]."""
    padded = torch.cat([x[:, :1].expand(-1, WINDOW - 1, -1), x], 1)
    return padded.unfold(1, WINDOW, 1).flip(-1).transpose(2, 3)


class Decoder(nn.Module):
    """Along the kinematic tree, from tokens at a picture to people ``delay`` before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.delay = nn.Embedding(len(DELAYS), width)
        self.weights = nn.Linear(width, WINDOW)
        self.correction = nn.ModuleList(
            nn.Sequential(nn.Linear(width + 6, 48), nn.GELU(), nn.Linear(48, 3)) for _ in BONES
        )
        self.length = nn.Linear(width, 2)
        self.root_weights = nn.Linear(width, 2 * WINDOW)
        self.root_correction = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, 3))
        self.variance = nn.Linear(width, 1)
        for layer in (self.weights, self.root_weights, self.length):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, track: Track, which: int) -> tuple[Tensor, Tensor, Tensor]:
        """Joints about the pelvis and pelvises of the pictures DELAYS[which] back.

        Returns:
            [N, T, 15, 3] in the camera's axes, [N, T, 3] metres, log variances [N, T, 15]; of each
            picture t what is told of t - delay.
        """
        delay = DELAYS[which]
        x = tokens + self.delay.weight[which]
        ends = torch.tensor([child for _, child in BONES])
        at_bone = x[..., ends, :]  # [N, T, 14, C]
        # The ray frames differ from picture to picture: raw directions in the camera's axes.
        raw = torch.einsum("ntcd,ntbd->ntbc", track.rays, track.bones)
        past = _windows(raw.flatten(2)).unflatten(-1, (len(BONES), 3))  # [N, T, W, 14, 3]
        there = _windows(track.present.float())  # [N, T, W, 14]
        # At first, weight falls with the distance in time from the picture in question.
        when = _windows(track.times[..., None])[..., 0]  # [N, T, W]
        target = when[..., delay] if delay else track.times
        prior = -(when - target[..., None]).abs() / 0.15
        logits = self.weights(at_bone).transpose(2, 3) + prior[..., None]
        weights = logits.masked_fill(there == 0, -1e4).softmax(2)
        mean = (weights[..., None] * past).sum(2)  # [N, T, 14, 3]
        frame = track.rays
        if delay:
            frame = torch.cat([frame[:, :1].expand(-1, delay, -1, -1), frame[:, :-delay]], 1)
        mean = torch.einsum("ntcd,ntbc->ntbd", frame, mean)  # into the ray's frame
        decoded: list[Tensor] = []
        for k, before in enumerate(BEFORE):
            parent = decoded[before] if before >= 0 else torch.zeros_like(mean[..., 0, :])
            known = torch.cat([at_bone[..., k, :], mean[..., k, :], parent], -1)
            decoded.append(F.normalize(mean[..., k, :] + 0.3 * self.correction[k](known), dim=-1))
        directions = torch.stack(decoded, 2)
        bone = directions * self._lengths(at_bone, track)[..., None]
        joints: list[Tensor] = [torch.zeros_like(bone[..., 0, :])] * JOINTS
        for k, (parent, child) in enumerate(BONES):
            joints[child] = joints[parent] + bone[..., k, :]
        about = torch.einsum("ntcd,ntjd->ntjc", frame, torch.stack(joints, 2))
        return about, self._root(x, track, prior), self.variance(x)[..., 0].clamp(-10, 2)

    def _lengths(self, at_bone: Tensor, track: Track) -> Tensor:
        """One set a track: the mean of all pictures so far, by learned weights; [N, T, 14]."""
        change, weight = self.length(at_bone).unbind(-1)
        weight = weight.exp() * track.present
        value = (track.lengths.clamp(min=0.02).log() + 0.3 * torch.tanh(change)) * weight
        total = weight.cumsum(1)
        mean = value.cumsum(1) / total.clamp(min=1e-6)
        return torch.where(total > 0, mean, math.log(0.25)).exp()

    def _root(self, x: Tensor, track: Track, prior: Tensor) -> Tensor:
        token = x.mean(2)
        logits = (
            self.root_weights(token).unflatten(-1, (2, WINDOW))
            + prior[:, :, None] * (torch.tensor([1.0, 0.3])[:, None])
        )
        there = _windows(track.seen.float()[..., None])[..., 0]
        weights = logits.masked_fill(there[:, :, None] == 0, -1e4).softmax(-1)
        past = _windows(track.root[..., :3])  # [N, T, W, 3]
        direction = (weights[:, :, 0, :, None] * past[..., :2]).sum(2)
        depth = (weights[:, :, 1] * past[..., 2]).sum(2)
        change = self.root_correction(token)
        direction = direction + 0.05 * change[..., :2]
        z = (depth + 0.3 * torch.tanh(change[..., 2])).clamp(-3, 5).exp()
        return torch.cat([direction * z[..., None], z[..., None]], -1)


class LearnedSmoother(nn.Module):
    """Encoder and decoder."""

    def __init__(self, kind: str = "maed") -> None:
        super().__init__()
        self.encoder: MaedEncoder | WindowMlp = MaedEncoder() if kind == "maed" else WindowMlp()
        self.decoder = Decoder(self.encoder.width)

    def forward(self, track: Track) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each of DELAYS what :meth:`Decoder.forward` gives."""
        tokens = self.encoder(track)
        return [self.decoder(tokens, track, which) for which in range(len(DELAYS))]
