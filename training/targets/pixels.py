"""Pictures as networks with ImageNet's normalisation take them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_train.export.common import IMAGENET_RGB


def normalised(image: NDArray[np.uint8], pixel_range: int = 1) -> Tensor:
    """uint8 [H, W, 3] rgb to float32 [3, H, W], (value - mean) / std.

    Args:
        image: the picture.
        pixel_range: what a value of 255 is before that, 1 or 255.
    """
    mean, spread = _statistics()
    scaled = (image.astype(np.float32) * np.float32(pixel_range / 255) - mean) / spread
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))


def restored(tensor: Tensor, pixel_range: int = 1) -> NDArray[np.uint8]:
    """The picture that :func:`normalised` was given, uint8 [H, W, 3] rgb."""
    mean, spread = _statistics()
    scaled = tensor.numpy().transpose(1, 2, 0) * spread + mean
    return np.clip(np.rint(scaled * (255 / pixel_range)), 0, 255).astype(np.uint8)


def _statistics() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread of ImageNet's pixels, rgb."""
    return np.float32(IMAGENET_RGB["mean"]), np.float32(IMAGENET_RGB["std"])
