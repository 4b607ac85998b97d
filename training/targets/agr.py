"""VirtualPose's abstract representation: what its later parts see instead of images.

Su et al., ECCV 2022. From 3D poses and a camera come joint heatmaps and box maps as a perfect
backbone would give them, so root and pose estimation learn from motion data and virtual
cameras alone. Gaussians are placed with the roundings of the official code. World millimetres,
as in ``smap_train.models.virtualpose``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_train.models.virtualpose.cameras import Cameras, project, to_cells
from smap_train.models.virtualpose.config import JOINTS, ROOT, VirtualPoseConfig
from smap_train.models.virtualpose.model import Truth

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SIGMA_CELLS = 3.0  # of a person who is 96 / sqrt(2) cells large
REFERENCE_CELLS = 96.0
PERSON_CELLS = (48.0, 192.0)  # a person's size is limited to this when sigma is chosen
BOX_MARGIN = (0.25, 0.12)  # of the joints' extent, on each side, x and y
BOX_PATCH_CELLS = 15  # half the edge of the square that carries a person's box
ROOT_SIGMA_MM = 200.0
WINDOW_SIGMAS = 3  # Gaussians end there

# Training noise: how often a joint's peak is weakened, and by what factor.
_WEAK = {"l_elbow": (0.35, 0.7), "r_elbow": (0.35, 0.7), "l_wrist": (0.35, 0.5)} | {
    "r_wrist": (0.35, 0.5), "spine": (0.35, 0.7), "head": (0.35, 0.7),
}  # fmt: skip
_WEAK_OTHERWISE = (0.25, 0.7)


@dataclass(frozen=True)
class Abstraction:
    """One scene as REN and PEN see it, and what they should answer; P people.

    Attributes:
        maps: float32 [J + 4, h, w], heatmaps 0..1, then distances to the box's sides, cells.
        joints_mm: float32 [P, J, 3], world.
        in_image: bool [P, J], joints that fall into the network's input.
        inds: int64 [P], the root's cell in the flattened maps; 0 if it is outside.
        sides: float32 [P, 4], distances from root to box sides, cells.
        depth_mm: float32 [P], of the root.
        in_view: bool [P], roots that fall into the network's input.
        root_cube: float32 [X, Y, Z], 0..1.
    """

    maps: Float32
    joints_mm: Float32
    in_image: NDArray[np.bool_]
    inds: NDArray[np.int64]
    sides: Float32
    depth_mm: Float32
    in_view: NDArray[np.bool_]
    root_cube: Float32


def abstraction(
    joints_mm: NDArray[np.floating],
    camera: Cameras,
    config: VirtualPoseConfig,
    noise: np.random.Generator | None = None,
) -> Abstraction:
    """Render a scene.

    Args:
        joints_mm: [P, J, 3], world.
        camera: a batch of one.
        config: of the network.
        noise: shifts and weakens peaks as a backbone would; none for exact maps.

    Raises:
        InputError: if the joints don't fit the configuration.
    """
    if joints_mm.ndim != 3 or joints_mm.shape[1:] != (config.joints, 3):
        raise InputError(
            f"joints have shape {joints_mm.shape}, expected [people, {config.joints}, 3]"
        )
    exact = Cameras(*(value.double() for value in camera))
    points = torch.from_numpy(np.array(joints_mm, np.float64)).reshape(1, -1, 3)
    pixels, depth = project(exact, points)
    cells = to_cells(pixels, exact.image_size, config).numpy().reshape(*joints_mm.shape[:2], 2)
    size = np.array(config.map_size)
    in_image = np.all((cells >= 0) & (cells < size), axis=-1)
    roots, sides = cells[:, ROOT], box_sides(cells, config.map_size)
    in_view = in_image[:, ROOT]
    column, row = np.where(in_view[:, None], roots, 0).astype(np.int64).T
    heat = heatmaps(cells, config.map_size, noise=noise)
    return Abstraction(
        maps=np.concatenate([heat, box_maps(roots, sides, config.map_size)]),
        joints_mm=np.asarray(joints_mm, np.float32),
        in_image=in_image,
        inds=row * size[0] + column,
        sides=sides,
        depth_mm=depth.numpy().reshape(joints_mm.shape[:2])[:, ROOT].astype(np.float32),
        in_view=in_view,
        root_cube=root_cube(joints_mm[:, ROOT], config),
    )


def heatmaps(
    cells: Float64,
    map_size: tuple[int, int],
    visible: NDArray[np.bool_] | None = None,
    noise: np.random.Generator | None = None,
) -> Float32:
    """Joint heatmaps, where people overlap the maximum.

    Args:
        cells: [P, J, 2], joints in map cells; outside ones may reach in.
        map_size: width and height, cells.
        visible: [P, J]; only these are drawn, and a person's size is that of theirs. All if
            None.
        noise: shifts and weakens the peaks.

    Returns:
        float32 [J, h, w], 0..1.
    """
    people, joints = cells.shape[:2]
    visible = np.ones((people, joints), bool) if visible is None else visible
    sigma = gaussian_sigma(cells, visible)
    shift, strength = _disturb(sigma, joints, noise)
    middle = np.trunc(cells + shift)
    columns = _profile(middle[..., 0], sigma, map_size[0])  # [P, J, w]
    rows = _profile(middle[..., 1], sigma, map_size[1]) * (strength * visible)[..., None]
    out = np.zeros((joints, map_size[1], map_size[0]), np.float32)
    for x, y in zip(columns, rows, strict=True):  # the outer products of all would fill memory
        np.maximum(out, y[:, :, None] * x[:, None, :], out=out)
    return np.clip(out, 0, 1, out=out)


def gaussian_sigma(cells: Float64, visible: NDArray[np.bool_]) -> Float64:
    """Width of each person's Gaussians by the person's size in the maps: [P], cells."""
    low = np.where(visible[..., None], cells, np.inf).min(1)
    high = np.where(visible[..., None], cells, -np.inf).max(1)
    size = np.clip((high - low).max(-1), *PERSON_CELLS)
    return np.asarray(SIGMA_CELLS * np.sqrt(2 * size**2 / REFERENCE_CELLS**2))


def box_sides(
    cells: Float64, map_size: tuple[int, int], labelled: NDArray[np.bool_] | None = None
) -> Float32:
    """Distances from the root to the left, top, right and bottom of people's boxes.

    Args:
        cells: [P, J, 2], joints in map cells, those outside of the image as well.
        labelled: [P, J]; only these count, of each person at least one. All if None.

    Returns:
        float32 [P, 4], cells; the box is cut at the image's border.
    """
    counted = np.ones(cells.shape[:2], bool) if labelled is None else labelled
    low = np.where(counted[..., None], cells, np.inf).min(1)
    high = np.where(counted[..., None], cells, -np.inf).max(1)
    margin = (high - low) * BOX_MARGIN
    low, high = np.clip(low - margin, 0, map_size), np.clip(high + margin, 0, map_size)
    root = cells[:, ROOT]
    return np.concatenate([root - low, high - root], axis=-1).astype(np.float32)


def box_maps(roots: Float64, sides: Float32, map_size: tuple[int, int]) -> Float32:
    """Box distances in a square around each root; later people cover earlier ones.

    Args:
        roots: [P, 2], map cells.
        sides: [P, 4].

    Returns:
        float32 [4, h, w]; the last row and column stay empty, as officially.
    """
    width, height = map_size
    out = np.zeros((4, height, width), np.float32)
    middle = np.trunc(roots).astype(np.int64)
    start = np.maximum(middle - BOX_PATCH_CELLS, 0)
    stop = np.clip(middle + BOX_PATCH_CELLS, 0, (width - 1, height - 1))
    for (left, top), (right, bottom), values in zip(start, stop, sides, strict=True):
        out[:, top:bottom, left:right] = values[:, None, None]
    return out


def root_cube(roots_mm: NDArray[np.floating], config: VirtualPoseConfig) -> Float32:
    """What REN should answer: a Gaussian around each root, where they overlap the maximum.

    Args:
        roots_mm: [P, 3], world.

    Returns:
        float32 [X, Y, Z], 0..1.
    """
    out = np.zeros(config.space_bins, np.float32)
    for root in np.asarray(roots_mm, np.float64):
        x, y, z = (_root_profile(root[k], config, k) for k in range(3))
        np.maximum(out, x[:, None, None] * y[:, None] * z, out=out, casting="same_kind")
    return out


def truth(scenes: Sequence[Abstraction], config: VirtualPoseConfig) -> Truth:
    """A batch of scenes as networks and losses take it, padded to the most people of a scene."""
    most = max(1, *(len(scene.joints_mm) for scene in scenes))

    def padded(values: list[NDArray[np.generic]]) -> torch.Tensor:
        wide = [np.pad(v, [(0, most - len(v))] + [(0, 0)] * (v.ndim - 1)) for v in values]
        return torch.from_numpy(np.stack(wide))

    return Truth(
        roots_mm=padded([s.joints_mm[:, ROOT] for s in scenes]),
        joints_mm=padded([s.joints_mm for s in scenes]),
        joints_weight=padded([s.in_image.astype(np.float32) for s in scenes]),
        people=padded([np.ones(len(s.joints_mm), bool) for s in scenes]),
        inds=padded([s.inds for s in scenes]),
        sides=padded([s.sides for s in scenes]),
        depth_mm=padded([s.depth_mm for s in scenes]),
        in_view=padded([s.in_view.astype(np.float32) for s in scenes]),
        root_cube=torch.from_numpy(np.stack([s.root_cube for s in scenes])),
    )


def _profile(middle: Float64, sigma: Float64, size: int) -> Float32:
    """Gaussians along one axis of the maps: middles [P, J], sigmas [P] -> [P, J, size].

    The official patch: its ends are cut towards zero, and its middle is that of the uncut
    patch, so it may lie one cell off the joint.
    """
    reach = (WINDOW_SIGMAS * sigma)[:, None]
    start, stop = np.trunc(middle - reach), np.trunc(middle + reach + 1)
    peak = start + (2 * reach + 1) // 2
    where = np.arange(size)
    drawn = (where >= start[..., None]) & (where < stop[..., None])
    off = (where - peak[..., None]) / sigma[:, None, None]
    return (np.exp(-0.5 * off**2) * drawn).astype(np.float32)


def _root_profile(root_mm: float, config: VirtualPoseConfig, axis: int) -> Float64:
    """Gaussian along one axis of the searched cube."""
    half = config.space_size_mm[axis] / 2
    grid = np.linspace(-half, half, config.space_bins[axis]) + config.space_center_mm[axis]
    off = grid - root_mm
    near = np.abs(off) <= WINDOW_SIGMAS * ROOT_SIGMA_MM
    return np.asarray(np.exp(-0.5 * (off / ROOT_SIGMA_MM) ** 2) * near)


def _disturb(
    sigma: Float64, joints: int, noise: np.random.Generator | None
) -> tuple[Float64, Float64]:
    """Shift [P, J, 2] and strength [P, J] of each peak."""
    people = len(sigma)
    if noise is None:
        return np.zeros((people, joints, 2)), np.ones((people, joints))
    shift = noise.standard_normal((people, joints, 2)) * sigma[:, None, None] / 4
    dull = 0.9 + 0.03 * noise.standard_normal((people, joints))
    strength = np.where(noise.random((people, joints)) < 0.8, dull, 1.0)
    chance, factor = np.array([_WEAK.get(name, _WEAK_OTHERWISE) for name in JOINTS[:joints]]).T
    weak = noise.random((people, joints)) < chance
    return shift, np.where(weak, strength * factor, strength)
