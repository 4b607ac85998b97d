"""Bundles of kind ``virtualpose``: a backbone, and the two networks behind it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import smap_ros
from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from smap_train.data.dataset import MEAN, STD
from smap_train.export.common import IMAGENET_RGB, ExportOptions, load_network
from smap_train.export.networks import Array, relative_error, worst
from smap_train.export.precision import Part, write_parts
from smap_train.models.deployment import Export
from smap_train.models.finished import finished_lite
from smap_train.models.virtualpose import graphs
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.lite import VirtualPoseLite
from smap_train.models.virtualpose.model import VirtualPose

_OFFICIAL_PEAK_BINS = VirtualPoseConfig().peak_bins
_MERGE_DISTANCE = 0.3  # metres; narrower peaks find some people twice
_LITE = {"mean": (MEAN / 255,) * 3, "std": (STD / 255,) * 3}
_OFFICIAL = {**IMAGENET_RGB, "resize": "bilinear"}


def export_virtualpose_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Export a VirtualPose with its backbone as three networks.

    Args:
        checkpoint: of model ``virtualpose`` or ``virtualpose_lite``.
        bundle: folder to write.
        options: ``backbone`` is the checkpoint of a ``virtualpose_backbone``, for the lite one of a
            ``smap_lite``, or its bundle. ``half`` stores the backbone's weights as fp16, those of
            the lite one's other networks too; officially these are small beside the backbone,
            and stay as they are.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if these are other networks, don't fit together, or ONNX and torch disagree.
    """
    behind = load_network(checkpoint, VirtualPose)
    lite = isinstance(behind, VirtualPoseLite)
    backbone = options.backbone
    if backbone is None:
        raise InputError(
            f"{checkpoint} holds VirtualPose without its backbone; name the checkpoint of its "
            "virtualpose_backbone (the lite one's smap_lite) with --backbone"
        )
    image_network = finished_lite(backbone) if lite else load_network(backbone, PoseDetResNet)
    config = behind.config
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
    manifest = _manifest(config, list(shape), _LITE if lite else _OFFICIAL)
    manifest |= {"name": bundle.name, **options.facts}
    with tempfile.TemporaryDirectory() as folder:
        paths = {role: Path(folder) / f"{role}.onnx" for role in exports}
        error = write_parts(
            _parts(exports, paths, config, lite), options.half, options.half_tolerance
        )
        return write_bundle(bundle, manifest, **paths), error


def _parts(
    exports: dict[str, Export], paths: dict[str, Path], config: VirtualPoseConfig, lite: bool
) -> list[Part]:
    """The three networks; of the second and third only kernels, which hold no coordinates."""
    behind, kernels = ("virtualpose_lite", 4) if lite else ("virtualpose", None)
    image = "smap_lite" if lite else "virtualpose_backbone"
    differences = {
        "model": partial(maps_error, config.joints),
        "root": partial(candidates_error, config.root_threshold),
    }
    return [
        Part(image, exports["model"], paths["model"], differences["model"]),
        Part(f"{behind}'s roots", exports["root"], paths["root"], differences["root"], kernels),
        Part(behind, exports["pose"], paths["pose"], least_axes=kernels),
    ]


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


def maps_error(joints: int, got: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Of the backbone: heatmaps and box distances in one tensor, whose ranges differ.

    Args:
        joints: number of heatmaps, which come first.
        got, expected: ``maps``, [1, C, h, w], of ONNX Runtime and torch.
    """
    pairs = [(got["maps"][:, part], expected["maps"][:, part]) for part in _shares(joints)]
    return worst(relative_error(a, b) for a, b in pairs if b.size)


def _shares(joints: int) -> tuple[slice, slice]:
    return slice(None, joints), slice(joints, None)


def candidates_error(
    threshold: float, got: Mapping[str, Array], expected: Mapping[str, Array]
) -> float:
    """Of the root network: scores, and where the candidates are that it believes.

    Candidates come in the order of their scores, so those with nearly the same score may change
    places, and those without any are arbitrary. Each that torch believes is compared with the
    nearest one of ONNX Runtime.

    Args:
        threshold: scores that are believed.
        got, expected: ``scores`` [1, K] and ``roots`` [1, K, 3] of ONNX Runtime and torch.
    """
    errors = [relative_error(got["scores"], expected["scores"])]
    for root in expected["roots"][expected["scores"] > threshold]:
        apart = np.abs(got["roots"][0] - root).max(axis=1).min()
        errors.append(float(apart / np.abs(root).max()))
    return worst(errors)
