"""Which patches are hidden: random blocks, and before them pieces of the body's parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import COCO17

Mask = NDArray[np.bool_]

_PARTS = (
    "nose-l_eye nose-r_eye l_eye-r_eye l_eye-l_ear r_eye-r_ear",
    "l_shoulder-l_elbow l_elbow-l_wrist",
    "r_shoulder-r_elbow r_elbow-r_wrist",
    "l_hip-l_knee l_knee-l_ankle",
    "r_hip-r_knee r_knee-r_ankle",
    "r_shoulder-l_hip l_shoulder-r_hip",
)
PARTS: tuple[tuple[tuple[int, int], ...], ...] = tuple(
    tuple((COCO17.index(a), COCO17.index(b)) for a, b in (bone.split("-") for bone in part.split()))
    for part in _PARTS
)

_LARGEST_SHARE = 0.3  # of a part's patches that are hidden for its sake
_SMALLEST_BLOCK, _ASPECT, _ATTEMPTS = 12, 0.3, 10  # patches; flattest block; per block
# Above the noise below 1, which decides among equals.
_BLOCK_PRIORITY, _PART_PRIORITY = 2.0, 100.0


def part_patches(
    keypoints: NDArray[np.floating], part: int, grid: tuple[int, int], patch: int
) -> Mask:
    """The patches that a part of the body lies on: the boxes around its bones.

    Args:
        keypoints: [17, 2], COCO's, pixels of the crop; a bone without both ends inside of the
            crop is left out. Unknown ones are NaN or negative.
        part: index into ``PARTS``.
        grid: rows and columns of patches.
        patch: pixels a side.

    Returns:
        [rows, columns].
    """
    mask = np.zeros(grid, dtype=bool)
    cells = keypoints[:, ::-1] / patch  # row, column
    inside: Mask = np.all((cells >= 0) & (cells < grid), axis=-1)
    for a, b in PARTS[part]:
        if inside[a] and inside[b]:
            ends = cells[[a, b]].astype(int)
            (top, left), (bottom, right) = ends.min(axis=0), ends.max(axis=0)
            mask[top : bottom + 1, left : right + 1] = True
    return mask


def block_mask(count: int, grid: tuple[int, int], rng: np.random.Generator) -> Mask:
    """Rectangles of random places, sizes and shapes, until ``count`` patches are covered.

    As BEiT (Bao et al., ICLR 2022); a few less where no further block fits.

    Returns:
        [rows, columns].
    """
    mask = np.zeros(grid, dtype=bool)
    while (left := count - int(mask.sum())) > 0:
        for _ in range(_ATTEMPTS):
            block = _random_block(left, grid, rng)
            fresh = 0 if block is None else int((~mask[block]).sum())
            if block is not None and 0 < fresh <= left:
                mask[block] = True
                break
        else:
            break
    return mask


def _random_block(
    limit: int, grid: tuple[int, int], rng: np.random.Generator
) -> tuple[slice, slice] | None:
    """A block of about ``_SMALLEST_BLOCK`` to ``limit`` patches, or None if it doesn't fit."""
    area = rng.uniform(*sorted((_SMALLEST_BLOCK, limit)))
    aspect = np.exp(rng.uniform(np.log(_ASPECT), -np.log(_ASPECT)))
    height, width = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
    if height >= grid[0] or width >= grid[1]:
        return None
    top, left = rng.integers(0, grid[0] - height + 1), rng.integers(0, grid[1] - width + 1)
    return slice(top, top + height), slice(left, left + width)


def mask_priorities(
    keypoints: NDArray[np.floating],
    grid: tuple[int, int],
    patch: int,
    ratio: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """How early each patch is hidden, for one view of one person.

    A random number of the six parts is taken, in random order; of each a random share of up to
    30 % of its patches comes first, then random blocks, then the rest.

    Args:
        keypoints: [17, 2], see ``part_patches``.
        grid: rows and columns of patches.
        patch: pixels a side.
        ratio: share of the patches that will be hidden.
        rng: source of all choices.

    Returns:
        [rows * columns]; the highest are hidden. No two are equal, officially ties are broken
        by the sorting.
    """
    hidden = round(ratio * grid[0] * grid[1])
    priorities = rng.random(grid, dtype=np.float32)
    priorities += _BLOCK_PRIORITY * block_mask(hidden, grid, rng)
    wanted, priority = rng.integers(0, len(PARTS) + 1), _PART_PRIORITY
    masks = (part_patches(keypoints, part, grid, patch) for part in rng.permutation(len(PARTS)))
    for mask in [mask for mask in masks if mask.any()][:wanted]:
        patches = np.flatnonzero(mask)
        share = int(len(patches) * rng.uniform(0, _LARGEST_SHARE))
        priorities.flat[rng.permutation(patches)[:share]] = priority + rng.random(share)
        priority -= 2
    return priorities.ravel()
