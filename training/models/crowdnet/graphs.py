"""3DCrowdNet for deployment: everything but the body model."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_eval

from smap_train.models.crowdnet.network import PoseGuidedNetwork
from smap_train.models.crowdnet.rotation import GRAPH, GraphConv

INPUTS = ("image", "joints", "mask")
OUTPUTS = ("joint_img", "joint_score", "smpl_pose", "smpl_shape", "cam_param")


class PoseGraph(nn.Module):
    """Crop and 2D pose -> joints, pose, shape and camera; see ``CrowdNet``.

    Holds copies, in eval mode, with the graph convolutions folded; the network stays trainable.
    The mesh is left to others. (VPoser's decoder lies inside, whose licence is as strict as the
    body's: an exported graph is for its maker alone.)
    """

    def __init__(self, network: PoseGuidedNetwork) -> None:
        super().__init__()
        # The body model isn't copied: half of the memory, and not wanted inside.
        self.network = copy.deepcopy(network, {id(network.human_model_layer): None}).eval()
        _fold(self.network)
        self.eval()

    def forward(self, image: Tensor, joints: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of ``OUTPUTS``."""
        outputs = self.network.regress(image, joints, mask)
        return tuple(outputs[f"out_{name}"] for name in OUTPUTS)


class FoldedGraphConv(nn.Module):
    """A graph convolution in eval mode as one product over all joints, instead of 15.

    Args:
        source: the layer, whose batch normalisation goes into the weights.
    """

    weights: Tensor
    bias: Tensor
    graph: Tensor

    def __init__(self, source: GraphConv) -> None:
        super().__init__()
        pairs = [_folded(layer) for layer in source.fcbn_list]
        self.register_buffer("weights", torch.stack([w.detach().T for w, _ in pairs]))
        self.register_buffer("bias", torch.stack([b.detach() for _, b in pairs])[:, None])
        self.register_buffer("graph", torch.tensor(GRAPH, dtype=self.weights.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 15, inputs] -> [B, 15, outputs]."""
        nodes = torch.baddbmm(self.bias, x.transpose(0, 1), self.weights)  # [15, B, outputs]
        return F.relu(torch.matmul(self.graph, nodes.transpose(0, 1)))


def _folded(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights and bias of a linear layer and the batch normalisation after it."""
    linear, norm = layer.children()
    if not isinstance(linear, nn.Linear) or not isinstance(norm, nn.BatchNorm1d):
        raise TypeError(f"expected a linear layer and batch normalisation, got {layer}")
    fused = fuse_linear_bn_eval(linear, norm)
    return fused.weight, fused.bias


def _fold(module: nn.Module) -> None:
    """Replace every graph convolution inside."""
    for name, child in module.named_children():
        if isinstance(child, GraphConv):
            setattr(module, name, FoldedGraphConv(child))
        else:
            _fold(child)
