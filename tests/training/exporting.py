"""What the tests of several exporters share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_ros.skeletons import MUCO21, Skeleton
from smap_train.cli import app
from tests.conftest import BRIGHT, Scene

# What an exporter is told beside its settings.
FACTS = {
    "half": False,
    "provenance": {"data": "none", "command": "none", "commit": "none"},
    "licence": "Apache-2.0",
    "description": "",
}
# ImageNet's, as official code states them: for RGB of 0 to 1.
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def busy_picture(scene: Scene, noise: np.ndarray) -> np.ndarray:
    """The scene's brightness with much to see in it; ``noise`` is stretched over the image."""
    shape = (scene.camera.width, scene.camera.height)
    bright = scene.image(BRIGHT) - 40.0 + cv2.resize(noise.astype(np.float32), shape)
    return np.clip(bright, 0, 255).astype(np.uint8)


def assert_refused(checkpoint: Path, bundle: Path, options: Sequence[str], words: str) -> None:
    """The command doesn't export a checkpoint with these options, says why, and writes nothing."""
    result = CliRunner().invoke(app, ["export", str(checkpoint), str(bundle), *options])
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=words):
        raise result.exception
    assert not bundle.exists()


def official_flip(coord: Tensor, mirrored: Tensor, width: int, skeleton: Skeleton) -> Tensor:
    """MobileHumanPose's coordinates averaged with those of the mirrored crop, turned back.

    Args:
        coord: [B, J, 3] in cells.
        mirrored: [B, J, 3] in cells, of the crop with its columns reversed.
        width: cells along x.
        skeleton: whose left and right joints are exchanged.

    Returns:
        [B, J, 3] in cells.
    """
    # Hands and toes exist in MuCo's training data only; officially they are left unpaired.
    swap = skeleton.flip.tolist()
    if skeleton is MUCO21:
        swap = swap[:17] + list(range(17, len(skeleton)))
    x, yz = mirrored[:, swap, :1], mirrored[:, swap, 1:]
    return (coord + torch.cat([width - 1 - x, yz], -1)) / 2
