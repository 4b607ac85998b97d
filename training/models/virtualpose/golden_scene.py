"""The scene that VirtualPose's golden files were made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_train.models.virtualpose.cameras import Cameras, make_camera


def golden_scene(folder: Path, arrays: Mapping[str, NDArray]) -> tuple[Tensor, Cameras]:
    """Heatmaps and box distances, float32 [1, 21, 128, 240], and the camera they are seen by.

    Args:
        folder: of the golden files; holds ``scene.json``.
        arrays: of ``golden.npz``, by name.
    """
    camera = json.loads((folder / "scene.json").read_text())["camera"]
    size = (round(2 * camera["cx"]), round(2 * camera["cy"]))
    intrinsics = (camera["fx"], camera["fy"], camera["cx"], camera["cy"])
    position = np.array(camera["T"])[:, 0]
    maps = torch.from_numpy(arrays["input_AGR16"].astype(np.float32))[None]
    return maps, make_camera(np.array(camera["R"]), position, intrinsics, size)
