"""Bundles of kind ``video``: MAED cut in two, with the user's own body model.

The first part looks at each crop alone, in every mode of attention; so a crop is looked at once,
and only the second part runs on overlapping windows. Together they are exactly the network.

The body (SMPL) is licensed to each user personally and becomes part of the bundle: such a
bundle is for its maker alone and must not be passed on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

import smap_ros
from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from smap_ros.skeletons import H36M17, SKELETONS
from smap_train.export.common import IMAGENET_RGB, ExportOptions, load_network, random_crops
from smap_train.export.networks import one_input
from smap_train.export.precision import Part, write_parts
from smap_train.models.layers.smpl import VERTICES
from smap_train.models.layers.smpl_files import H36M_FILE
from smap_train.models.maed.body import FOCAL_PX, IMAGE_SIZE
from smap_train.models.maed.encoder import MAX_FRAMES
from smap_train.models.maed.graphs import FrameGraph
from smap_train.models.maed.network import Maed
from smap_train.settings import bundle_settings

_EXAMPLES = 2  # more than one, as the number of crops is free
CLIP_OUTPUTS = ("camera", "joints", "vertices")
# SPIN's J_regressor_h36m has the left leg before the right one; in h36m17 it is behind.
_H36M_ROWS = (0, 4, 5, 6, 1, 2, 3, *range(7, len(H36M17)))


class VideoSettings(BaseModel):
    """What a manifest says beside what the network itself tells.

    Attributes:
        first_stage: name of the bundle that finds the people.
        box_margin: side of the crop over the longer side of the box about a person's joints;
            officially the box is enlarged by 1.1, and the crop is 1.3 times that.
        joint_set: ``spin49``, or ``h36m17`` by the regressor that comparisons on Human3.6M and
            3DPW use; people are reported in mpi15 either way.
        window: images that are looked at together. The default is what MAED was trained with, and
            1 for a network that mixes nothing along time.
    """

    model_config = ConfigDict(extra="forbid")

    first_stage: str = "smap_lite"
    box_margin: float = 1.43
    joint_set: Literal["spin49", "h36m17"] = "spin49"
    window: int | None = Field(default=None, ge=1, le=MAX_FRAMES)


class TokenGraph(nn.Module):
    """A clip's tokens to bodies, the second part of the network; shares its weights.

    Args:
        network: with its body filled.
        joint_set: of the joints.
    """

    def __init__(self, network: Maed, joint_set: str) -> None:
        super().__init__()
        self.network, self.joint_set = network, joint_set

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Tokens [N, T, P, C] to the second part's results.

        Returns:
            ``camera`` [N, T, 3], (s, tx, ty); ``joints`` [N, T, J, 3] and ``vertices``
            [N, T, 6890, 3], metres, neither placed.
        """
        found = self.network.from_tokens(tokens)
        human36m = self.joint_set == H36M17.name
        joints = found["h36m_kp_3d"][:, :, _H36M_ROWS] if human36m else found["kp_3d"]
        camera = found["cam"].unflatten(0, tokens.shape[:2])
        return {"camera": camera, "joints": joints, "vertices": found["verts"]}


def export_video_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Export a MAED network with its body.

    Args:
        checkpoint: of model ``maed``.
        bundle: folder to write.
        options: ``smpl`` as of :func:`complete_body`; ``settings`` are fields of
            ``VideoSettings``; ``half`` moves vertices by up to half a millimetre.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the checkpoint holds another network, a file of the body is missing, a
            setting is wrong, or ONNX and torch disagree.
    """
    chosen = bundle_settings(VideoSettings, options.settings, "video")
    network = load_network(checkpoint, Maed)
    complete_body(network, options.smpl, chosen.joint_set)
    crops, clip = FrameGraph(network), TokenGraph(network, chosen.joint_set).eval()
    manifest = _manifest(bundle.name, network, chosen)
    manifest |= options.facts
    images = random_crops(_EXAMPLES, network.encoder.image_size)
    with torch.inference_mode():
        tokens = crops(images)["tokens"]
    window = tokens[torch.arange(manifest["window"]) % _EXAMPLES][None].clone()
    manifest["outputs"] = {"tokens": {"name": "tokens", "shape": (1, *tokens.shape[1:])}}
    with tempfile.TemporaryDirectory() as folder:
        path, second = Path(folder) / "model.onnx", Path(folder) / "clip.onnx"
        first = one_input(crops, images, ("tokens",), free_batch=True)
        behind = one_input(clip, window, CLIP_OUTPUTS, input_name="tokens")
        parts = [Part("maed", first, path), Part("maed", behind, second)]
        error = write_parts(parts, options.half, options.half_tolerance)
        triangles = Path(folder) / "faces.npy"
        np.save(triangles, network.decoder.smpl.faces.numpy().astype(np.int32))
        return write_bundle(bundle, manifest, path, clip=second, faces=triangles), error


def complete_body(network: Maed, smpl: Path | None, joint_set: str) -> None:
    """Fill in what a checkpoint lacks of the body from the user's own files.

    Official checkpoints hold the body. The folder, if there is one, takes its place; see
    ``Maed.load_body`` for its files.

    Args:
        network: gets the body.
        smpl: the folder.
        joint_set: ``h36m17`` needs ``J_regressor_h36m.npy`` in the folder.

    Raises:
        InputError: if a file is missing, saying which, and where from.
    """
    body = network.decoder.smpl
    if smpl is not None:
        network.load_body(smpl)
    elif not all(bool(value.isfinite().all()) for value in body.state_dict().values()):
        raise InputError(
            "the checkpoint holds no body: name a folder with your own SMPL files with --smpl. It "
            "must hold SMPL_NEUTRAL.pkl, from https://smplify.is.tue.mpg.de, and "
            "J_regressor_extra.npy, from the data archive of SPIN"
        )
    if joint_set == H36M17.name and body.h36m_regressor is None:
        raise InputError(
            f"joint_set h36m17 needs {H36M_FILE}, from the data archive of SPIN: put it into the "
            "folder of your SMPL files, and name that with --smpl"
        )


def _manifest(name: str, network: Maed, chosen: VideoSettings) -> dict[str, Any]:
    """All that the network and the settings determine."""
    size = network.encoder.image_size
    image = {"name": "image", "width": size, "height": size, "color": "rgb", **IMAGENET_RGB}
    default = 1 if network.mode == "vanilla" else MAX_FRAMES
    return {
        "name": name,
        "kind": "video",
        "version": smap_ros.__version__,
        "input": image,
        "joint_set": SKELETONS[chosen.joint_set].name,
        "first_stage": chosen.first_stage,
        "box_margin": chosen.box_margin,
        # SPIN's camera is defined for crops of 224 pixels.
        "focal_px": FOCAL_PX * size / IMAGE_SIZE,
        "window": default if chosen.window is None else chosen.window,
        "vertices": VERTICES,
    }
