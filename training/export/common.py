"""What exporters of several kinds do alike: reading a network, examples, facts for the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.models.checkpoint import load_model

IMAGENET_RGB = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

Network = TypeVar("Network", bound=nn.Module)


def load_network(checkpoint: Path, kind: type[Network], expected: str = "") -> Network:
    """The network of a checkpoint, in eval mode.

    Args:
        checkpoint: its file.
        kind: of network that an exporter takes.
        expected: what to call those for people; by default by the name of ``kind``.

    Raises:
        InputError: if it holds another network.
    """
    network = load_model(checkpoint)
    if not isinstance(network, kind):
        raise InputError(
            f"{checkpoint} holds a {type(network).__name__}; expected a {expected or kind.__name__}"
        )
    return network


def stated_facts(
    half: bool, provenance: dict[str, Any], licence: str, description: str
) -> dict[str, Any]:
    """What a manifest says beside what network and settings determine."""
    return {
        "description": description,
        "precision": "fp16" if half else "fp32",
        "licence": licence,
        "provenance": provenance,
    }


def random_crops(count: int, size: int, pixel_range: int = 1) -> Tensor:
    """Random images, normalised as ImageNet's, float32 [count, 3, size, size].

    ``pixel_range`` as in ``smap_ros.bundles.manifest.common.CropInput``.
    """
    seeded = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 3, size, size, generator=seeded) * pixel_range
    mean, std = (torch.tensor(IMAGENET_RGB[key])[:, None, None] for key in ("mean", "std"))
    return (pixels - mean) / std
