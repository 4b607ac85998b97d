"""3DCrowdNet for deployment: everything but the body model."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_eval

from smap_ros.skeletons import SMPL30
from training.export.networks import save_program
from training.models.crowdnet.body import INPUT_SIZE
from training.models.crowdnet.network import PoseGuidedNetwork
from training.models.crowdnet.rotation import GRAPH, GraphConv

OPSET = 18  # read by OpenVINO, ONNX Runtime and TensorRT 10 alike

INPUTS = ("image", "joints", "mask")
OUTPUTS = ("joint_img", "joint_score", "smpl_pose", "smpl_shape", "cam_param")


class PoseGraph(nn.Module):
    """Crop and 2D pose -> joints, pose, shape and camera; see ``CrowdNet``.

    Holds copies, in eval mode, with the graph convolutions folded; the network stays trainable.
    The mesh is made outside, from the user's own SMPL file: its licence forbids passing it on
    inside a network. (That of VPoser, whose decoder lies inside, is as strict: such a file is
    for its maker alone.)
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


def export_pose_graph(network: PoseGuidedNetwork, path: Path, people: int = 1) -> None:
    """Write the graph as ONNX with static shapes and embedded weights.

    Args:
        network: stays as it is.
        path: file to write.
        people: batch size. Inputs are ``image`` [people, 3, 256, 256], ``joints``
            [people, 30, 2] and ``mask`` [people, 30, 1].
    """
    joints = len(SMPL30)
    example = (
        torch.zeros(people, 3, INPUT_SIZE, INPUT_SIZE),
        torch.zeros(people, joints, 2),
        torch.ones(people, joints, 1),
    )
    program = torch.onnx.export(
        PoseGraph(network),
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        external_data=False,
        verbose=False,
    )
    save_program(program, path)
