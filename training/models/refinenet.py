"""SMAP's RefineNet: a small perceptron that corrects one person's 3D joints.

Zhen et al., ECCV 2020, section 3.4. How its input is made from a person and its output put
back is the estimator's business (``smap_ros.estimators``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from smap_ros.skeletons import MPI15
from smap_train.models.layers.norms import HoldsNorms

_HIDDEN = (160, 256, 256, 128)  # SMAP's


class RefineNet(HoldsNorms):
    """75 (up to 135) -> hidden layers -> 45, batch normalisation and ReLU between.

    Input: float32 [B, 75], 15 joints (mpi15) by (x, y in network-input pixels; X, Y, Z in
    camera centimetres); joints other than the root relative to the root's values, missing
    joints zero. Output: dict with ``out`` [B, 45], root-relative centimetres.

    Args:
        scores: take the joints' scores as well, behind the rest: 15 inputs more.
        poses: take the poses that the pelvises tell, behind the rest: 45 inputs more.
        residual: predict what to add to the input's positions; SMAP predicts the positions.
        moves_root: the root's row is how far the root is to be moved; SMAP's is not used.
        hidden: widths of the hidden layers.
    """

    def __init__(
        self,
        residual: bool = False,
        scores: bool = False,
        moves_root: bool = False,
        poses: bool = False,
        hidden: Sequence[int] = _HIDDEN,
    ) -> None:
        super().__init__()
        self.residual, self.moves_root = residual, moves_root
        self.scores, self.poses = scores, poses
        inputs, outputs = (5 + scores + 3 * poses) * len(MPI15), 3 * len(MPI15)
        self.inputs = inputs
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for k, width in enumerate(hidden, start=1):
            layers[f"layer{k}"] = nn.Sequential(
                nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()
            )
            inputs = width
        layers[f"layer{len(hidden) + 1}"] = nn.Linear(inputs, outputs)
        self.block = nn.Sequential(layers)

    def forward(self, people: Tensor) -> dict[str, Tensor]:
        """[B, inputs] -> {"out": [B, 45]}."""
        out = self.block(people)
        if self.residual:
            positions = people[:, : 5 * len(MPI15)].unflatten(1, (len(MPI15), 5))[..., 2:].clone()
            positions[:, MPI15.root] = 0  # the input has the root's absolute position there
            out = out + positions.flatten(1)
        return {"out": out}
