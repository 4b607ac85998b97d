"""Finished smap_lite networks: of a checkpoint, of an exported file, or of a bundle."""

from __future__ import annotations

from pathlib import Path

import torch

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.errors import InputError
from smap_train.models import create
from smap_train.models.checkpoint import load_model
from smap_train.models.exported import load_exported, read_exported
from smap_train.models.smap_lite import SmapLite


def is_checkpoint(path: Path) -> bool:
    """Whether it is one of our training's; else it is a bundle, or a bundle's network."""
    return path.suffix == ".pth"


def bundle_of(path: Path | None) -> Bundle | None:
    """The bundle that a configuration names; None if it is a file, or nothing."""
    return None if path is None or path.suffix in (".pth", ".onnx") else load_bundle(str(path))


def weights_file(path: Path) -> Path:
    """The file of weights that a configuration names: of a bundle its network.

    Raises:
        BundleError: if it should be a bundle and is none.
    """
    bundle = bundle_of(path)
    return path if bundle is None else bundle.folder / bundle.manifest.files.model.path


def finished_lite(path: Path, backbone: str = "movenet") -> SmapLite:
    """A finished network in eval mode.

    Args:
        path: NAME.pth, a model.onnx, or a bundle.
        backbone: of networks that aren't a checkpoint, which says it itself.

    Raises:
        InputError: if the weights are not this network's.
    """
    if is_checkpoint(path):
        network = load_model(path)
    else:
        weights = read_exported(weights_file(path))
        necks = "neck_depth.weight" in weights
        network = create("smap_lite", backbone=backbone, **({"necks": True} if necks else {}))
        load_exported(network, weights)
    if not isinstance(network, SmapLite):
        raise InputError(f"{path} holds a {type(network).__name__}; expected a SmapLite")
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
