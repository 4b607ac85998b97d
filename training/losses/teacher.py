"""What a finished network teaches a successor that shall see more without forgetting anything.

Knowledge distillation (Hinton et al., 2015), on pictures of the kind that the teacher is good at.
It looks at each picture and at its mirror image and teaches the mean: a successor of one look
learns what the teacher needs two for.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from smap_ros.skeletons import MPI15
from smap_train.losses.shared import mean_count
from smap_train.losses.smap_lite import keypoint_loss

JOINTS = len(MPI15)

_LIMBS = [MPI15.limbs.index((MPI15.flip[a], MPI15.flip[b])) for a, b in MPI15.limbs]
_ROWS = list(MPI15.flip) + [JOINTS + 2 * limb + axis for limb in _LIMBS for axis in (0, 1)]
_POSE = [3 * joint + axis for joint in MPI15.flip for axis in (0, 1, 2)]
_ON_LIMB, _AT_ROOT = 0.25, 0.25  # squared length of affinities; score of pelvises


@torch.no_grad()
def two_looks(teacher: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Outputs of a teacher in eval mode, the mean over pictures and their mirror images.

    Args:
        image: float32 [B, 3, H, W].

    Returns:
        ``heatmap_2d`` [B, 43, h, w], ``det_d`` [B, 14, h, w], ``root_d`` [B, 1, h, w] and
        ``pose`` [B, 45, h, w], see :meth:`smap_train.models.smap_lite.SmapLite.forward`.
    """
    straight, mirrored = teacher(image), teacher(image.flip(-1))
    turned = {
        "heatmap_2d": mirrored["heatmap_2d"].flip(-1)[:, _ROWS],
        "det_d": mirrored["det_d"].flip(-1)[:, _LIMBS],
        "root_d": mirrored["root_d"].flip(-1),
        "pose": mirrored["pose"].flip(-1)[:, _POSE],
    }
    turned["heatmap_2d"][:, JOINTS::2] *= -1
    turned["pose"][:, ::3] *= -1
    return {name: (straight[name] + value) / 2 for name, value in turned.items()}


def teacher_loss(output: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
    """How far training-mode outputs are from what a teacher says of the same pictures.

    Keypoints and affinities everywhere, depths and poses where the teacher sees somebody.

    Args:
        output: of :class:`~smap_train.models.smap_lite.SmapLite` in training mode, of pictures that
            may be none: where several devices share a step, each has to ask.
        taught: of :func:`two_looks`.
    """
    keypoints, affinities = taught["heatmap_2d"].split((JOINTS, len(_ROWS) - JOINTS), dim=1)
    everywhere = torch.ones_like(keypoints)
    length = affinities[:, 0::2].square() + affinities[:, 1::2].square()
    on_limb = (length > _ON_LIMB).float()
    error = (output["affinities"] - affinities).square()
    error = error[:, 0::2] + error[:, 1::2]
    # As in the loss against labels: the rest counts a tenth.
    limb_cells = mean_count(on_limb.sum(), on_limb)
    limbs = (error * (0.1 + 0.9 * on_limb)).sum() / limb_cells
    bones = (output["bone_depth"] - taught["det_d"]).abs()
    root = (output["root_depth_log"] - taught["root_d"].clamp(min=1e-6).log()).abs()
    pose = (output["pose"] - taught["pose"]).abs().mean(dim=1, keepdim=True)
    at_root = (keypoints[:, MPI15.root : MPI15.root + 1] > _AT_ROOT).float()
    roots = mean_count(at_root.sum(), at_root)
    return (
        keypoint_loss(output["keypoint_logits"], keypoints, everywhere)
        + 2 * limbs
        + 2 * (bones * on_limb).sum() / limb_cells
        + (root * at_root).sum() / roots
        + 3 * (pose * at_root).sum() / roots
    )
