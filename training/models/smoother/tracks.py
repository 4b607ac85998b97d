"""People as the smoother's network sees them: what a picture tells of each bone, and from where."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from smap_ros.skeletons import MPI15

JOINTS, ROOT = len(MPI15), MPI15.root


def _tree() -> tuple[list[tuple[int, int]], list[int], list[list[int]]]:
    """Bones (parent, joint) from the pelvis outwards; the bone before each; bones by depth."""
    bones: list[tuple[int, int]] = []
    reached = [ROOT]
    for joint in reached:
        for a, b in MPI15.limbs:
            for parent, child in ((a, b), (b, a)):
                if parent == joint and child not in reached:
                    bones.append((parent, child))
                    reached.append(child)
    ends = [child for _, child in bones]
    before = [ends.index(parent) if parent in ends else -1 for parent, _ in bones]
    depth: list[int] = []
    for k in before:
        depth.append(0 if k < 0 else depth[k] + 1)
    levels = [[k for k, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]
    return bones, before, levels


# BEFORE is -1 for bones from the pelvis; LEVELS are bones whose parents are in the level before.
BONES, BEFORE, LEVELS = _tree()
PARENTS, CHILDREN = (list(ends) for ends in zip(*BONES, strict=True))
FEATURES = 8  # of a joint: place about the pelvis, bone's direction, score, present
PICTURE = JOINTS * FEATURES + 4  # the whole person, and the root's three with the bones' size
# What later pictures need of a picture: for each bone its direction, in the camera's axes, and
# whether it was seen; x/z, y/z and log depth of the pelvis; log of the bones' size; seen.
PAST = len(BONES) * 4 + 5


@dataclass
class Looks:
    """N tracks over T pictures, what each picture tells alone.

    Attributes:
        features: [N, T, PICTURE], in the frame of the ray to the pelvis; 0 where missing.
        past: [N, T, PAST].
        lengths: [N, T, 14], metres, 0 where missing.
    """

    features: Tensor
    past: Tensor
    lengths: Tensor


@dataclass
class Past:
    """Parts of [..., PAST].

    Attributes:
        bones: [..., 14, 3], unit directions; present: [..., 14], 0 or 1.
        root: [..., 3], x/z, y/z, log z; size: [...]; seen: [...], 0 or 1.
    """

    bones: Tensor
    present: Tensor
    root: Tensor
    size: Tensor
    seen: Tensor


def split_past(past: Tensor) -> Past:
    """Take [..., PAST] apart."""
    count = len(BONES)
    return Past(
        past[..., : 3 * count].unflatten(-1, (count, 3)),
        past[..., 3 * count : 4 * count],
        past[..., 4 * count : 4 * count + 3],
        past[..., 4 * count + 3],
        past[..., 4 * count + 4],
    )


def ray_frames(direction: Tensor) -> Tensor:
    """Rotations [..., 3, 3] to the camera from the frame whose z points along [..., 3]."""
    z = F.normalize(direction, dim=-1)
    # down x z, written out: cross products don't export.
    x = F.normalize(torch.stack([z[..., 2], torch.zeros_like(z[..., 0]), -z[..., 0]], -1), dim=-1)
    y = torch.stack(
        [
            z[..., 1] * x[..., 2] - z[..., 2] * x[..., 1],
            z[..., 2] * x[..., 0] - z[..., 0] * x[..., 2],
            z[..., 0] * x[..., 1] - z[..., 1] * x[..., 0],
        ],
        -1,
    )
    return torch.stack([x, y, z], dim=-1)


def rays_of(root: Tensor) -> Tensor:
    """Ray frames [..., 3, 3] of pelvises given as [..., 3]: x/z, y/z and anything."""
    return ray_frames(torch.cat([root[..., :2], torch.ones_like(root[..., :1])], -1))


def look(found: Tensor, scores: Tensor) -> Looks:
    """What pictures tell of people.

    Args:
        found: [N, T, 15, 3], metres, optical frame; anything finite where the score is 0.
        scores: [N, T, 15], 0 where a joint is missing.
    """
    seen = (scores[..., ROOT] > 0) & (found[..., ROOT, 2] > 0.05)  # [N, T]
    present = ((scores > 0) & seen[..., None]).float()  # [N, T, 15]
    nobody = torch.tensor([0.0, 0.0, 3.0], device=found.device)
    position = torch.where(seen[..., None], found[..., ROOT, :], nobody)
    z = position[..., 2:].clamp(min=0.05)
    root = torch.cat([position[..., :2] / z, z.log()], -1) * seen[..., None]
    about = (found - position[..., None, :]) * present[..., None]
    both = present[..., PARENTS] * present[..., CHILDREN]
    bone = (about[..., CHILDREN, :] - about[..., PARENTS, :]) * both[..., None]
    length = bone.square().sum(-1).clamp(min=1e-8).sqrt() * both
    direction = bone / length.clamp(min=1e-3)[..., None]
    size = length.sum(-1) / both.sum(-1).clamp(min=1)
    size = size.clamp(min=0.05).log() * seen
    rays = rays_of(root)
    at_joint = torch.cat([torch.zeros_like(about[..., :1, :]), direction], -2)[..., _AT_JOINT, :]
    turned = torch.cat([about, at_joint], -2) @ rays  # into the ray's frame
    joints = torch.cat(
        [turned[..., :JOINTS, :], turned[..., JOINTS:, :], (scores * present)[..., None],
         present[..., None]], -1,
    )  # fmt: skip
    features = torch.cat([joints.flatten(-2), root, size[..., None]], -1)
    past = torch.cat(
        [direction.flatten(-2), both, root, size[..., None], seen.float()[..., None]], -1
    )
    return Looks(features, past, length)


# Row of [nothing, bones] that is each joint's: the bone that ends there.
_AT_JOINT = [CHILDREN.index(k) + 1 if k in CHILDREN else 0 for k in range(JOINTS)]
