"""Bundles of kind ``mesh``: 3DCrowdNet and HAP's variant of it, with the user's own body model.

The body (SMPL) and the space of its poses (VPoser) are licensed to each user personally and
become part of the bundle: such a bundle is for its maker alone and must not be passed on.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

import smap_ros
from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from smap_ros.skeletons import SMPL30
from smap_train.export.common import ExportOptions, load_network
from smap_train.export.networks import Array, range_error
from smap_train.export.precision import Part, write_parts
from smap_train.models.crowdnet.body import (
    FOCAL_PX,
    INPUT_SIZE,
    CrowdBody,
    camera_translation,
)
from smap_train.models.crowdnet.graphs import INPUTS, OUTPUTS, PoseGraph
from smap_train.models.crowdnet.guidance import HEATMAP_SIZE
from smap_train.models.crowdnet.network import HapCrowdNet, PoseGuidedNetwork
from smap_train.models.deployment import Export
from smap_train.models.golden_body import is_stand_in, synthetic_body, synthetic_regressor
from smap_train.models.layers.rotations import axis_angle_to_matrix
from smap_train.models.layers.smpl import JOINTS, VERTICES
from smap_train.models.layers.smpl_files import (
    BODY_FILES,
    EXTRA_FILE,
    load_joint_regressor,
    load_smpl,
)
from smap_train.settings import bundle_settings

LOG = logging.getLogger(__name__)

VPOSER_FILE = "vposer_v1.pt"
EXTRA_ROWS = 9

PLACED = ("joints_3d", "vertices")
_EXAMPLES = 2  # more than one, as the number of people is free


class MeshSettings(BaseModel):
    """What a manifest says beside what the network itself tells; official values.

    Attributes:
        first_stage: name of the bundle that finds the people.
        box_enlargement, box_margin, min_joint_score: see ``smap_ros.bundles.manifest.mesh``.
    """

    model_config = ConfigDict(extra="forbid")

    first_stage: str = "smap_lite"
    box_enlargement: float = 1.2
    box_margin: float = 1.25
    min_joint_score: float = 0.1


class MeshGraph(nn.Module):
    """Crop and 2D pose to everything, joints and mesh before the crop's camera included.

    Args:
        network: with body and joint regressor; stays as it is.
    """

    def __init__(self, network: PoseGuidedNetwork) -> None:
        super().__init__()
        self.regressor = PoseGraph(network)
        self.body = network.human_model_layer

    def forward(self, image: Tensor, joints: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of ``OUTPUTS`` and then ``joints_3d``, ``vertices``; metres."""
        outputs = self.regressor(image, joints, mask)
        pose, shape, camera = outputs[2:]
        rotations = axis_angle_to_matrix(pose.unflatten(-1, (JOINTS, 3)))
        vertices = self.body(shape, rotations).vertices
        # Moved after the joints are taken: tens of metres away, float32 would cost precision.
        translation = camera_translation(camera)[:, None]
        return (*outputs, self.body.joints30(vertices) + translation, vertices + translation)


def export_mesh_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Export 3DCrowdNet or HAP's variant with its body, for any number of people.

    Args:
        checkpoint: of model ``crowdnet`` or ``hap_crowdnet``.
        bundle: folder to write.
        options: ``smpl`` and ``stand_in`` as of :func:`complete_body`; ``settings`` are fields of
            ``MeshSettings``.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the checkpoint holds another network, a file of the body is missing, a
            setting is wrong, or ONNX and torch disagree.
    """
    chosen = bundle_settings(MeshSettings, options.settings, "mesh")
    network = load_network(checkpoint, PoseGuidedNetwork, "CrowdNet or HapCrowdNet")
    faces = complete_body(network, options.smpl, options.stand_in)
    graph = MeshGraph(network).eval()
    manifest = _manifest(bundle.name, chosen)
    manifest |= options.facts
    model = "hap_crowdnet" if isinstance(network, HapCrowdNet) else "crowdnet"
    with tempfile.TemporaryDirectory() as folder:
        path, triangles = Path(folder) / "model.onnx", Path(folder) / "faces.npy"
        part = Part(model, mesh_export(graph), path, difference_about_pelvis)
        error = write_parts([part], options.half, options.half_tolerance)
        np.save(triangles, faces)
        return write_bundle(bundle, manifest, path, faces=triangles), error


def complete_body(
    network: PoseGuidedNetwork, smpl: Path | None, stand_in: bool = False
) -> NDArray[np.int32]:
    """Fill in what a checkpoint lacks of the body from the user's own files.

    Official checkpoints hold SMPL and VPoser, but not where the top of the head is. From the
    folder are taken:

    - ``J_regressor_extra.npy``: always;
    - ``SMPL_NEUTRAL.pkl`` or ``.npz``: when the checkpoint has no body, or the stand-in of
      training without a body;
    - ``vposer_v1.pt`` (one of VPoser v1's ``snapshots``): if it is there, in place of the
      checkpoint's.

    Args:
        network: gets the body.
        smpl: the folder.
        stand_in: without a folder, what the checkpoint lacks is that of training without a body.

    Returns:
        The triangles of the mesh, int32 [13776, 3].

    Raises:
        InputError: if there is no folder or it lacks a file, saying which, and where from.
    """
    body = network.human_model_layer
    known = all(bool(buffer.isfinite().all()) for buffer in body.buffers())
    if smpl is None and stand_in and (not known or is_stand_in(body)):
        body.set_body(synthetic_body())
        body.set_joint_regressor(synthetic_regressor("J_regressor_extra", EXTRA_ROWS))
        return np.asarray(body.faces.numpy(), np.int32)
    if smpl is None or not smpl.is_dir():
        got = "none was named" if smpl is None else f"{smpl} is none"
        raise InputError(
            f"the bundle of a mesh network needs a folder with your own body model ({got}): name "
            f"it with --smpl. It must hold {EXTRA_FILE}, from the data archive of SPIN; and, for "
            "checkpoints without a body, SMPL_NEUTRAL.pkl, from https://smplify.is.tue.mpg.de. A "
            f"{VPOSER_FILE}, from https://smpl-x.is.tue.mpg.de, takes the place of the "
            "checkpoint's VPoser"
        )
    if not known:
        body.set_body(load_smpl(smpl))
    elif is_stand_in(body):
        _replace_stand_in(body, smpl)
    body.set_joint_regressor(load_joint_regressor(smpl / EXTRA_FILE, EXTRA_ROWS))
    if (smpl / VPOSER_FILE).is_file():
        network.vposer.load(smpl / VPOSER_FILE)
    faces: NDArray[np.int32] = body.faces.numpy().astype(np.int32)
    return faces


def _replace_stand_in(body: CrowdBody, smpl: Path) -> None:
    """Put the body of the user's folder in the place of the stand-in, aloud."""
    trained = "the weights were trained without a body, with a stand-in of SMPL's"
    if any((smpl / name).is_file() for name in BODY_FILES):
        body.set_body(load_smpl(smpl))
        LOG.warning(
            "%s: the bundle has the body of %s, whose shape and pose the network doesn't know. "
            "Train on from the weights with smpl=%s",
            trained, smpl, smpl,
        )  # fmt: skip
    else:
        LOG.warning(
            "%s, and %s holds none of %s: the bundle has the stand-in, whose surface is no body",
            trained, smpl, " and ".join(BODY_FILES),
        )  # fmt: skip


def mesh_export(graph: MeshGraph) -> Export:
    """The graph for any number of people."""
    examples = dict(zip(INPUTS, example_people(), strict=True))
    return Export(graph, examples, (*OUTPUTS, *PLACED), dict.fromkeys(INPUTS, "batch"))


def difference_about_pelvis(got: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Largest difference between ONNX Runtime and torch, relative to each output's range.

    Joints and vertices are compared about the pelvis: their distance from the camera, tens of
    metres, would hide what happens to the body.
    """
    return range_error(_about_pelvis(got), _about_pelvis(expected))


def _about_pelvis(outputs: Mapping[str, Array]) -> dict[str, Array]:
    pelvis = outputs[PLACED[0]][:, :1]
    return {**outputs, **{name: outputs[name] - pelvis for name in PLACED}}


def example_people() -> tuple[Tensor, Tensor, Tensor]:
    """Random crops [2, 3, 256, 256], 2D poses [2, 30, 2] and masks [2, 30, 1], float32."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand(_EXAMPLES, 3, INPUT_SIZE, INPUT_SIZE, generator=random)
    joints = HEATMAP_SIZE * torch.rand(_EXAMPLES, len(SMPL30), 2, generator=random)
    mask = (torch.rand(_EXAMPLES, len(SMPL30), 1, generator=random) > 0.3).float()
    return image, joints * mask, mask


def _manifest(name: str, chosen: MeshSettings) -> dict[str, Any]:
    """All that the network and the settings determine."""
    image = {"name": "image", "width": INPUT_SIZE, "height": INPUT_SIZE, "color": "rgb"}
    return {
        "name": name,
        "kind": "mesh",
        "version": smap_ros.__version__,
        "input": {**image, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        "outputs": {
            "joints": {"name": "joints_3d", "shape": (1, len(SMPL30), 3)},
            "vertices": {"name": "vertices", "shape": (1, VERTICES, 3)},
        },
        "joint_set": SMPL30.name,
        "cells": HEATMAP_SIZE,
        "focal_px": FOCAL_PX,
        **chosen.model_dump(),
    }
