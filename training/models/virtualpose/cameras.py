"""Cameras in a world whose z axis points up, in millimetres.

VirtualPose searches a cube of the world, so it must know how the camera is tilted and how high
it is; where in the plane the world's origin lies, and where north, is a matter of choice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_train.models.virtualpose.config import VirtualPoseConfig

BEHIND_PIXEL = -10000.0  # where points at or behind the camera are projected
NEAR_MM = 0.01
_STEEPEST, _STEPS = math.radians(89.5), 2000  # rays at which lenses are looked at


class Cameras(NamedTuple):
    """One camera for each image of a batch; float32 tensors.

    Attributes:
        rotation: [B, 3, 3], world to optical frame (x right, y down, z forward).
        position_mm: [B, 3], the camera's centre in the world.
        intrinsics: [B, 4], fx, fy, cx, cy in pixels of the original image.
        distortion: [B, 5], k1, k2, p1, p2, k3 as OpenCV's (``plumb_bob``).
        image_size: [B, 2], width and height of the original image, pixels.
    """

    rotation: Tensor
    position_mm: Tensor
    intrinsics: Tensor
    distortion: Tensor
    image_size: Tensor

    def pick(self, images: Tensor) -> Cameras:
        """The cameras of some images: int64 [N] into the batch."""
        return Cameras(*(value[images] for value in self))


def make_camera(
    rotation: NDArray[np.floating],
    position_mm: NDArray[np.floating],
    intrinsics: tuple[float, float, float, float],
    image_size: tuple[int, int],
    distortion: tuple[float, ...] = (),
) -> Cameras:
    """A batch of one camera.

    Args:
        rotation: [3, 3], world to optical frame.
        position_mm: [3].
        intrinsics: fx, fy, cx, cy in pixels.
        image_size: width and height, pixels.
        distortion: up to five numbers in OpenCV's order; none for an ideal camera.
    """
    coefficients = [*distortion, *[0.0] * (5 - len(distortion))]
    values = (rotation, position_mm, intrinsics, coefficients, image_size)
    return Cameras(*(torch.as_tensor(np.array(v, np.float32))[None] for v in values))


def orbit_pose(
    roll: float, pitch: float, yaw: float, distance_mm: float, height_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pose of a camera that looks at a point above the world's origin.

    This is how the official code makes virtual cameras. With roll and pitch together its axes
    are not exactly perpendicular: x rolls, z doesn't, and y is their cross product. A robot
    with both angles should use ``smap_ros.geometry.mounting.level_pose``.

    Args:
        roll: the right side of the image up, radians.
        pitch: looking down, radians.
        yaw: the direction from the origin to the camera, from the x axis to the y axis, radians.
        distance_mm: from the camera to the point it looks at.
        height_mm: of that point.

    Returns:
        Rotation, float64 [3, 3], world to optical frame; position, float64 [3], mm.
    """
    forward = -np.array(
        [math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch)]
    )
    right = np.array(
        [-math.sin(yaw) * math.cos(roll), math.cos(yaw) * math.cos(roll), math.sin(roll)]
    )
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rotation, np.array([0.0, 0.0, height_mm]) - forward * distance_mm


def project(cameras: Cameras, points_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels and depths of world points.

    Args:
        cameras: N of them.
        points_mm: float32 [N, P, 3].

    Returns:
        Pixels of the original images, float32 [N, P, 2], ``BEHIND_PIXEL`` for points that are
        not before the camera; depths along the optical axis, float32 [N, P], mm. As of
        ``Camera.project``, what a lens doesn't reach lies farther out in the direction where it is.
    """
    relative = points_mm - cameras.position_mm[:, None]
    seen = relative @ cameras.rotation.transpose(1, 2)
    depth = seen[..., 2]
    behind = (depth < NEAR_MM)[..., None]
    ideal = torch.where(behind, 0.0, seen[..., :2] / depth.clamp(min=NEAR_MM)[..., None])
    focal, principal = cameras.intrinsics[:, None, :2], cameras.intrinsics[:, None, 2:]
    steep = torch.linalg.vector_norm(ideal, dim=-1, keepdim=True)
    beyond = (steep / reach(cameras.distortion)[:, None, None]).clamp(min=1.0)
    pixels = distort(ideal / beyond, cameras.distortion) * beyond * focal + principal
    return torch.where(behind, BEHIND_PIXEL, pixels), depth


def reach(coefficients: Tensor) -> Tensor:
    """Out to where lenses show what is farther from the axis farther from the middle.

    As ``smap_ros.geometry.lenses.widest``, by the slope: as part of a graph it may run in half
    precision, in which neighbouring rays would be the same.

    Args:
        coefficients: [N, 5], k1, k2, p1, p2, k3.

    Returns:
        Tangents of the angles from the axis, [N]; infinite of lenses that never turn back.
    """
    angles = torch.linspace(0.0, _STEEPEST, _STEPS, dtype=torch.float64)
    tangents = angles.tan().to(coefficients)
    k1, k2, _, _, k3 = coefficients[:, :, None].unbind(1)  # each [N, 1]
    square = tangents.square()
    slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3)))
    return torch.where(slope > 0, torch.inf, tangents).amin(-1)


def distort(ideal: Tensor, coefficients: Tensor) -> Tensor:
    """Bend normalised image coordinates as the lens does.

    Args:
        ideal: [N, P, 2], x/z and y/z.
        coefficients: [N, 5], k1, k2, p1, p2, k3.

    Returns:
        [N, P, 2].
    """
    k1, k2, p1, p2, k3 = coefficients[:, None, :, None].unbind(2)  # each [N, 1, 1]
    square = ideal.square().sum(-1, keepdim=True)
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    tangential = p1 * ideal[..., 1:] + p2 * ideal[..., :1]
    return ideal * (radial + 2 * tangential) + torch.cat([p2, p1], dim=-1) * square


def network_zoom(image_size: Tensor, config: VirtualPoseConfig) -> Tensor:
    """Network pixels per image pixel: [B, 2] sizes -> [B].

    The image is resized isotropically and centred in the network's input.
    """
    return (image_size.new_tensor(config.image_size) / image_size).amin(-1)


def to_cells(pixels: Tensor, image_size: Tensor, config: VirtualPoseConfig) -> Tensor:
    """Pixels of the original images -> map cells.

    Args:
        pixels: [N, P, 2].
        image_size: [N, 2].

    Returns:
        [N, P, 2]; a cell's index is its coordinate. Officially there is no half-pixel shift.
    """
    size = pixels.new_tensor(config.image_size)
    zoom = network_zoom(image_size, config)[:, None, None]
    network = (pixels - image_size[:, None] / 2) * zoom + size / 2
    cells = network * (pixels.new_tensor(config.map_size) / size)
    return cells - config.cell_shift if config.cell_shift else cells


def depth_unit_mm(cameras: Cameras, config: VirtualPoseConfig) -> Tensor:
    """What normalised depths are multiplied by: the focal length in network pixels, [B]."""
    focal = cameras.intrinsics[:, :2].prod(-1).sqrt()
    return focal * network_zoom(cameras.image_size, config)
