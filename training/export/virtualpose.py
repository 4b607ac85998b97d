"""Bundles of kind ``virtualpose``: a backbone, and the two networks behind it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from torch import Tensor, nn

import smap_ros
from smap_ros.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from training.data.dataset import MEAN, STD
from training.export.networks import (
    fuse_batch_norm,
    require_agreement,
    rounded,
    save_program,
    store_half,
)
from training.models.checkpoint import load_model
from training.models.smap_lite import SmapLite
from training.models.virtualpose import graphs
from training.models.virtualpose.backbone import PoseDetResNet
from training.models.virtualpose.config import VirtualPoseConfig
from training.models.virtualpose.lite import VirtualPoseLite
from training.models.virtualpose.model import VirtualPose

Network = TypeVar("Network", bound=nn.Module)

_IMAGENET_RGB = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_LITE = {"mean": (MEAN / 255,) * 3, "std": (STD / 255,) * 3}


def export_virtualpose_kind(
    checkpoint: Path,
    backbone: Path,
    bundle: Path,
    *,
    half: bool,
    provenance: dict[str, Any],
    licence: str,
    description: str,
) -> tuple[Bundle, float]:
    """Export a VirtualPose with its backbone as three networks.

    Args:
        checkpoint: of model ``virtualpose`` or ``virtualpose_lite``.
        backbone: checkpoint of model ``virtualpose_backbone``, for the lite one of ``smap_lite``.
        bundle: folder to write.
        half: store the backbone's weights as fp16. The other two stay as they are: they are
            small, and hold coordinates that fp16 can't.
        provenance, licence, description: for the manifest.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if these are other networks, don't fit together, or ONNX and torch disagree.
    """
    behind = _load(checkpoint, VirtualPose)
    lite = isinstance(behind, VirtualPoseLite)
    image_network = _load(backbone, SmapLite if lite else PoseDetResNet)
    config = behind.config
    if half:  # round first, so that torch and ONNX hold the same numbers
        if lite:
            fuse_batch_norm(image_network)
        weights = image_network.state_dict()
        image_network.load_state_dict({k: rounded(v) for k, v in weights.items()})
    exports = {
        "model": graphs.backbone_export(image_network, config.image_size),
        "root": graphs.root_export(behind),
        "pose": graphs.pose_export(behind),
    }
    shape = exports["model"].run()["maps"].shape
    if shape != exports["root"].inputs["maps"].shape:
        raise InputError(
            f"{backbone} gives maps {list(shape)} but {checkpoint} takes "
            f"{list(exports['root'].inputs['maps'].shape)}; export networks of one configuration"
        )
    manifest = _manifest(config, list(shape), _LITE if lite else _IMAGENET_RGB) | {
        "name": bundle.name,
        "description": description,
        "precision": "fp16" if half else "fp32",
        "licence": licence,
        "provenance": provenance,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {role: Path(folder) / f"{role}.onnx" for role in exports}
        for role, export in exports.items():
            save_program(export.trace(), paths[role])
        if half:
            store_half(paths["model"])
        errors = [_difference(export, paths[role]) for role, export in exports.items()]
        require_agreement(float(np.max(errors)))  # NaN if one is
        return write_bundle(bundle, manifest, **paths), max(errors)


def _manifest(
    config: VirtualPoseConfig, maps: list[int], colours: dict[str, Any]
) -> dict[str, Any]:
    """What the configuration says of a bundle."""
    width, height = config.image_size
    image = {"name": "image", "width": width, "height": height, "color": "rgb", **colours}
    return {
        "kind": "virtualpose",
        "version": smap_ros.__version__,
        "input": image,
        "outputs": {"maps": {"name": "maps", "shape": maps}},
        "joint_set": "mpi15",
        "stride": height // maps[2],
        "max_people": config.max_people,
        "root_threshold": config.root_threshold,
        "space": {
            "size_m": [v / graphs.MM for v in config.space_size_mm],
            "center_m": [v / graphs.MM for v in config.space_center_mm],
        },
        "box_maps": config.box_maps,
        "centred": config.cell_shift > 0,
    }


def _load(checkpoint: Path, kind: type[Network]) -> Network:
    network = load_model(checkpoint)
    if not isinstance(network, kind):
        raise InputError(
            f"{checkpoint} holds a {type(network).__name__}; expected a {kind.__name__}"
        )
    return network


def _difference(export: graphs.Export, path: Path) -> float:
    """Largest difference between ONNX Runtime and torch, relative to each output's range.

    Candidates of the root network come in the order of their scores, so those with nearly the
    same score may change places, and those without any are arbitrary. Its scores are compared,
    and each candidate that the network believes with the nearest one of ONNX Runtime.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {name: value.numpy() for name, value in export.inputs.items()}
    got = dict(zip(export.outputs, session.run(list(export.outputs), feeds), strict=True))
    expected = export.run()
    if not isinstance(export.graph, graphs.RootGraph):
        return max(_relative(got[name], expected[name]) for name in expected)
    worst = _relative(got["scores"], expected["scores"])
    believed = expected["scores"] > export.graph.config.root_threshold
    for root in expected["roots"][believed].numpy():
        apart = np.abs(got["roots"][0] - root).max(axis=1).min()
        worst = max(worst, float(apart / np.abs(root).max()))
    return worst


def _relative(got: np.ndarray, expected: Tensor) -> float:
    reference = expected.numpy()
    return float(np.abs(got - reference).max()) / max(float(np.abs(reference).max()), 1e-6)
