"""Bundles of kind ``smap``: the official network and smap_lite, with or without RefineNet."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import smap_ros
from smap_ros.bundles.bundle import Bundle, load_bundle, write_bundle
from smap_ros.errors import InputError
from smap_train.data.dataset import MEAN, STD
from smap_train.export.common import ExportOptions, load_network
from smap_train.export.networks import one_input
from smap_train.export.precision import Part, write_parts
from smap_train.models import entry
from smap_train.models.checkpoint import load_checkpoint, load_model
from smap_train.models.deployment import Export
from smap_train.models.refinenet import RefineNet
from smap_train.models.smap import MEAN_BGR, STD_BGR

LOG = logging.getLogger(__name__)

# What a manifest says of each exportable network beside its shapes. SMAP's units are those of
# the official code: heatmaps times 255, affinities times 127, centimetres.
_SMAP_KIND: dict[str, dict[str, Any]] = {
    "smap": {
        "input": {"color": "bgr", "mean": MEAN_BGR, "std": STD_BGR, "resize": "bilinear"},
        "scales": {
            "heatmap_scale": 255.0,
            "paf_scale": 127.0,
            "bone_depth_unit_m": 0.01,
            "root_depth_unit_m": 0.01,
        },
        "centred_pixels": False,
        "depth_by_size": False,
        "association": {},
        "min_joint_score": 0.0,
        "depth_error": {False: 0.0, True: 0.0},
        "size_share": 0.0,
        "flip_test": False,
    },
    "smap_lite": {
        "input": {"color": "rgb", "mean": (MEAN / 255,) * 3, "std": (STD / 255,) * 3},
        "scales": {
            "heatmap_scale": 1.0,
            "paf_scale": 1.0,
            "bone_depth_unit_m": 1.0,
            "root_depth_unit_m": 1.0,
        },
        "centred_pixels": True,
        "depth_by_size": True,
        "size_share": 0.3,
        "flip_test": True,
        # Its maps have a quarter of the cells of SMAP: thin limbs fade between samples. Chosen on
        # scenes that it was neither trained nor tested on; see training/NOTES.md.
        "association": {"paf_threshold": 0.02, "paf_min_share": 0.7},
        "min_joint_score": 0.24,
        # 68 % of the errors are within; without and with the network's word on its depths.
        "depth_error": {False: 0.095, True: 0.7},
    },
}
_OUTPUTS = {
    "maps": "heatmap_2d",
    "bone_depth": "det_d",
    "root_depth": "root_d",
    "pose": "pose",
    "neck_depth": "neck_d",
    "neck_pose": "neck_pose",
    "depth_spread": "depth_spread",
}


def export_smap_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Export a network with SMAP's outputs.

    Args:
        checkpoint: of the network.
        bundle: folder to write.
        options: ``refine`` and ``like`` say what goes with the weights.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the network has no such outputs, ONNX and torch disagree, or ``half`` moves
            the outputs by more than ``half_tolerance`` (by default the network's own).
    """
    content = load_checkpoint(checkpoint)
    name = content["model"]
    if name not in _SMAP_KIND:
        raise InputError(
            f"{checkpoint} holds {name!r}; bundles can be made of {', '.join(_SMAP_KIND)}"
        )
    network = load_model(checkpoint)
    width, height = content.get("input_size", entry(name).input_shape[:1:-1])
    seeded = torch.Generator().manual_seed(0)
    example = torch.randn((1, 3, height, width), generator=seeded)
    with torch.no_grad():
        shapes = {key: tuple(value.shape) for key, value in network(example).items()}
    outputs = {key: output for key, output in _OUTPUTS.items() if output in shapes}
    names = tuple(outputs.values())
    facts = _SMAP_KIND[name]
    refine = options.refine
    like = None if options.like is None else load_bundle(options.like)
    manifest = {
        "name": bundle.name,
        "kind": "smap",
        "version": smap_ros.__version__,
        "input": {"name": "image", "width": width, "height": height, **facts["input"]},
        "outputs": {
            key: {"name": output, "shape": shapes[output]} for key, output in outputs.items()
        },
        "joint_set": "mpi15",
        **options.facts,
        "scales": facts["scales"],
        "stride": height // shapes["heatmap_2d"][2],
        "centred_pixels": facts["centred_pixels"],
        "depth_by_size": facts["depth_by_size"],
        "association": facts["association"],
        "min_joint_score": facts["min_joint_score"],
        "depth_error": facts["depth_error"]["depth_spread" in outputs],
        "flip_test": facts["flip_test"],
        "size_share": facts["size_share"] if refine is not None else 0.0,
    }
    if like is not None:
        manifest |= _chosen_for(like)
        if ("depth_spread" in like.manifest.outputs) != ("depth_spread" in outputs):
            _forget_certainty(manifest, facts["depth_error"]["depth_spread" in outputs], like)
    refining = None
    if refine is not None:
        refining = load_network(refine, RefineNet, "refinenet")
        manifest |= refine_facts(refining)
    with tempfile.TemporaryDirectory() as folder:
        path, refine_path = Path(folder) / "model.onnx", Path(folder) / "refine.onnx"
        parts = [Part(name, one_input(network, example, names), path)]
        if refining is not None:
            parts.append(Part("refinenet", refine_export(refining), refine_path))
        error = write_parts(parts, options.half, options.half_tolerance)
        others = {} if like is None else further_networks(like, Path(folder))
        if not {"pose", "depth_spread"} <= set(outputs):  # which a fusing network is fed with
            others.pop("fuse", None)
        if refining is not None:
            others["refine"] = refine_path
        return write_bundle(bundle, manifest, path, **others), error


# What of a manifest is its network's own; all else was measured or chosen for its people.
_OF_THE_NETWORK = {
    "name", "kind", "version", "description", "files", "input", "outputs", "joint_set", "precision",
    "licence", "provenance", "scales", "stride", "centred_pixels", "depth_by_size",
}  # fmt: skip


def _chosen_for(like: Bundle) -> dict[str, Any]:
    """What a bundle's manifest says that isn't its network's own.

    Raises:
        InputError: if it is of another kind.
    """
    if like.kind != "smap":
        raise InputError(f"bundle {like.name} is of kind {like.kind}; expected one of kind smap")
    stated = like.manifest.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in stated.items() if name not in _OF_THE_NETWORK}


def _forget_certainty(manifest: dict[str, Any], depth_error: float, like: Bundle) -> None:
    """Drop what was measured of how sure a bundle is: of depths with a spread, or of those without.

    What is left is as of a network that nothing was measured of; the least score was one of the
    probabilities that went.
    """
    manifest["depth_error"] = depth_error
    if manifest.pop("person_score", None) is not None:
        manifest.pop("min_score", None)
    LOG.warning(
        "only one of this network and bundle %s tells a spread of its depths: depth_error is %g "
        "and scores are no probabilities until they are measured (smap-train distances, smap-train "
        "person-score)", like.name, depth_error,
    )  # fmt: skip


def further_networks(
    like: Bundle, folder: Path, kept: Iterable[str] | None = None
) -> dict[str, Path]:
    """Copies of a bundle's networks, by role.

    Args:
        like: the bundle.
        folder: to write them to.
        kept: which; by default all but those that see the image.
    """
    entries = like.manifest.files.entries
    kept = [role for role in entries if not role.startswith("model")] if kept is None else kept
    copies = {role: folder / f"like_{role}.onnx" for role in kept}
    for role, path in copies.items():
        path.write_bytes(like.read(role))
    return copies


def refine_facts(network: RefineNet) -> dict[str, bool]:
    """What a manifest says of a refining network."""
    return {
        "refine_scores": network.scores,
        "refine_poses": network.poses,
        "refine_root": network.moves_root,
    }


def refine_export(network: RefineNet) -> Export:
    """A RefineNet for any number of people."""
    rows, _ = entry("refinenet").input_shape
    seeded = torch.Generator().manual_seed(0)
    example = torch.randn((rows, network.inputs), generator=seeded) * 50  # pixels, cm
    return one_input(network, example, ("out",), free_batch=True)
