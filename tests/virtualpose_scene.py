"""A VirtualPose whose answers are known: real networks, exported for real, with weights by hand.

The 3D networks hand their cubes through unchanged and the depth network says one depth, so what
comes out is the geometry alone: where the maps of a scene lead when they are projected back into
space. The backbone's weights are random; for scenes it is replaced by the maps themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from typer.testing import CliRunner

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.camera import Camera
from smap_ros.geometry.mounting import level_pose
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.config import ROOT
from smap_train.models.virtualpose.model import VirtualPose
from smap_train.models.virtualpose.v2v import V2VNet
from smap_train.targets.agr import box_maps, box_sides

SMALL = {
    "image_size": [448, 256],
    "map_size": [112, 64],
    "max_people": 5,
    "space_size_mm": [4000.0, 4800.0, 1600.0],
    "space_center_mm": [0.0, 0.0, 900.0],
    "space_bins": [40, 48, 16],
    "person_bins": 20,
    "v2v_width": 36,  # half of it carries the 17 joints
    "depth_stem_width": 8,
    "depth_head_width": 16,
}
BACKBONE = {"depth": 18, "stem_width": 8, "head_width": 16}
CAMERA = Camera.from_fov(1280, 720, math.radians(80))
ZOOM = 448 / 1280
HEIGHT, PITCH_DEG, AHEAD = 1.3, 12.0, 2.0
# Pelvises in the world, metres: equally far ahead, for the depth network knows one depth.
# So far apart that nobody reaches into the cube of another one.
ROOTS = np.array([[-1.0, -1.9, 0.9], [-1.0, 0.1, 0.9], [-1.0, 1.9, 0.9]])
SIGMA_CELLS = 1.5


@dataclass(frozen=True)
class LevelScene:
    """People on a floor before a camera that looks down.

    Attributes:
        joints: float64 [N, 15, 3], metres, optical frame.
        maps: float32 [1, 21, 64, 112], a perfect backbone's.
        camera: 1280x720 px.
    """

    joints: np.ndarray
    maps: np.ndarray
    camera: Camera = CAMERA


def level_scene(person: np.ndarray) -> LevelScene:
    """The scene of ``ROOTS``.

    Args:
        person: [15, 3], about the pelvis, metres: right, down, forward.
    """
    upright = np.stack([-person[:, 2], person[:, 0], -person[:, 1]], axis=-1)
    names = MPI15.joints
    neck, top, pelvis = (upright[names.index(n)] for n in ("neck", "head_top", "pelvis"))
    whole = np.concatenate([upright, [(neck + pelvis) / 2, (neck + top) / 2]])  # spine and head
    world = ROOTS[:, None] + whole
    rotation, position = mounting()
    seen = (world - position) @ rotation.T
    return LevelScene(seen[:, :15], perfect_maps(CAMERA.project(seen)))


def perfect_maps(pixels: np.ndarray) -> np.ndarray:
    """What a perfect backbone gives for joints [N, 17, 2]; Gaussians exactly where they are.

    The official training labels are rounded, which networks learn to undo; ours here can't.
    """
    (width, height), (columns, rows) = SMALL["image_size"], SMALL["map_size"]
    size = np.array([CAMERA.width, CAMERA.height])
    cells = ((pixels - size / 2) * ZOOM + (width / 2, height / 2)) * (columns / width)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
    off = ((grid - cells[:, :, None, None]) ** 2).sum(-1)
    heat = np.exp(-off / (2 * SIGMA_CELLS**2)).max(axis=0)
    sides = box_sides(cells, (columns, rows))
    boxes = box_maps(cells[:, ROOT], sides, (columns, rows))
    return np.concatenate([heat, boxes])[None].astype(np.float32)


def mounting() -> tuple[np.ndarray, np.ndarray]:
    """Rotation and position of the scene's camera, metres."""
    return level_pose(0.0, math.radians(PITCH_DEG), HEIGHT, AHEAD)


def export_bundle(folder: Path) -> Bundle:
    """Export the networks with ``smap-train export``; takes some seconds."""
    torch.manual_seed(0)
    network, backbone = VirtualPose(**SMALL), PoseDetResNet(**BACKBONE)
    _hand_through(network.REN.v2v_net, [ROOT])
    _hand_through(network.PEN.v2v_net, list(range(17)))
    rotation, position = mounting()
    depth = float(((ROOTS - position) @ rotation.T)[0, 2])
    head = network.REN.depth_net.depth[2]
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, depth * 1000 / (CAMERA.fx * ZOOM))
    for layer in (*backbone.deconv_layers, backbone.final_layer):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight)  # so that it sees something everywhere
    nn.init.constant_(backbone.bbox[2].bias, 15.0)
    save_checkpoint(folder / "vp.pth", "virtualpose", network.state_dict(), **SMALL)
    save_checkpoint(
        folder / "backbone.pth", "virtualpose_backbone", backbone.state_dict(), **BACKBONE
    )
    words = ["export", folder / "vp.pth", folder / "vp", "--half"]
    words += ["--backbone", folder / "backbone.pth"]
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "ONNX against torch" in result.output
    return load_bundle(folder / "vp")


def _hand_through(network: V2VNet, channels: list[int]) -> None:
    """Let a 3D network answer with some of its input's channels."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.zeros_(layer.weight)
    first, residual = network.front_layers
    middle = first.block[0].kernel_size[0] // 2
    with torch.no_grad():
        for k, channel in enumerate(channels):
            first.block[0].weight[k, channel, middle, middle, middle] = 1
            residual.skip_con[0].weight[k, k] = 1
            network.output_layer.weight[k, k] = 1
