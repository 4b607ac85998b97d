"""Bundles of kind ``virtualpose``: a backbone, and the two networks behind it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import smap_ros
from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from smap_train.data.dataset import MEAN, STD
from smap_train.export.common import IMAGENET_RGB, load_network, stated_facts
from smap_train.export.networks import (
    fuse_batch_norm,
    open_session,
    relative_error,
    require_agreement,
    rounded,
    save_program,
    store_half,
    worst,
)
from smap_train.models.smap_lite import SmapLite
from smap_train.models.virtualpose import graphs
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.lite import VirtualPoseLite
from smap_train.models.virtualpose.model import VirtualPose

_OFFICIAL_PEAK_BINS = VirtualPoseConfig().peak_bins
_MERGE_DISTANCE = 0.3  # metres; narrower peaks find some people twice
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
        half: store the backbone's weights as fp16, those of the lite one's other networks too.
            Officially these are small beside the backbone, and stay as they are.
        provenance, licence, description: for the manifest.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if these are other networks, don't fit together, or ONNX and torch disagree.
    """
    behind = load_network(checkpoint, VirtualPose)
    lite = isinstance(behind, VirtualPoseLite)
    image_network = load_network(backbone, SmapLite if lite else PoseDetResNet)
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
    manifest = _manifest(config, list(shape), _LITE if lite else IMAGENET_RGB)
    manifest |= {"name": bundle.name, **stated_facts(half, provenance, licence, description)}
    with tempfile.TemporaryDirectory() as folder:
        paths = {role: Path(folder) / f"{role}.onnx" for role in exports}
        for role, export in exports.items():
            save_program(export.trace(), paths[role])
        if half:
            store_half(paths["model"])
        if half and lite:  # of the others only kernels, which hold no coordinates
            store_half(paths["root"], least_axes=4)
            store_half(paths["pose"], least_axes=4)
        errors = [compare_export(export, paths[role]) for role, export in exports.items()]
        require_agreement(worst(errors))
        return write_bundle(bundle, manifest, **paths), worst(errors)


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
        "merge_distance": _MERGE_DISTANCE if config.peak_bins < _OFFICIAL_PEAK_BINS else 0.0,
    }


def compare_export(export: graphs.Export, path: Path) -> float:
    """Largest difference between ONNX Runtime and torch, relative to each output's range.

    Candidates of the root network come in the order of their scores, so those with nearly the
    same score may change places, and those without any are arbitrary. Its scores are compared,
    and each candidate that the network believes with the nearest one of ONNX Runtime.
    """
    session = open_session(path)
    feeds = {name: value.numpy() for name, value in export.inputs.items()}
    got = dict(zip(export.outputs, session.run(list(export.outputs), feeds), strict=True))
    expected = {name: value.numpy() for name, value in export.run().items()}
    if not isinstance(export.graph, graphs.RootGraph):
        return worst(relative_error(got[name], expected[name]) for name in expected)
    errors = [relative_error(got["scores"], expected["scores"])]
    believed = expected["scores"] > export.graph.config.root_threshold
    for root in expected["roots"][believed]:
        apart = np.abs(got["roots"][0] - root).max(axis=1).min()
        errors.append(float(apart / np.abs(root).max()))
    return worst(errors)
