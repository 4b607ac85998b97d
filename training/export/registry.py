"""The graphs that each network becomes on a robot, by the network's name.

Benchmarks and the table of operators find them here; a new exporter adds a line to ``GRAPHS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from smap_train.export.maed import TokenGraph
from smap_train.export.mesh import EXTRA_ROWS, MeshGraph, example_people
from smap_train.export.networks import one_input
from smap_train.export.topdown import example_crops
from smap_train.models import entry
from smap_train.models.crowdnet.graphs import INPUTS as CROWDNET_INPUTS
from smap_train.models.crowdnet.graphs import OUTPUTS as CROWDNET_OUTPUTS
from smap_train.models.deployment import Export
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.maed.graphs import FrameGraph
from smap_train.models.virtualpose import graphs as virtualpose

CLIP_OUTPUTS = ("camera", "joints", "vertices")
BODY_OUTPUTS = (*CROWDNET_OUTPUTS, "joints_3d", "vertices")

Graphs = Mapping[str, Export]


def deployed_graphs(name: str, network: nn.Module) -> Graphs:
    """What a network is cut into for deployment.

    Args:
        name: of the network in the registry of models.
        network: in eval mode.

    Returns:
        Name of the part -> graph with examples of its inputs, ready to be run and written;
        empty for a network that has no exporter.
    """
    return GRAPHS[name](network) if name in GRAPHS else {}


def _whole(name: str, *outputs: str) -> Callable[[nn.Module], Graphs]:
    """A network that is deployed as it is, for its official input."""

    def graphs(network: nn.Module) -> Graphs:
        image = torch.randn(entry(name).input_shape, generator=_generator())
        return {"whole": one_input(network, image, outputs)}

    return graphs


def _mobilehuman(network: nn.Module) -> Graphs:
    return {"crop": one_input(network, example_crops(pixel_range=255)[:1], ("coord",))}


def _maed(network: Any) -> Graphs:
    frames = entry("maed").input_shape
    image = torch.randn(1, *frames[2:], generator=_generator())
    frame = FrameGraph(network)
    with torch.inference_mode():
        tokens = frame(image)["tokens"]
    body = TokenGraph(network, "spin49").eval()
    clip = torch.randn(frames[0], frames[1], *tokens.shape[1:], generator=_generator())
    return {
        "frame": one_input(frame, image, ("tokens",)),
        "clip": one_input(body, clip, CLIP_OUTPUTS, input_name="tokens"),
    }


def _crowdnet(network: Any) -> Graphs:
    """With the body of the golden files: the real one is each user's own."""
    network.human_model_layer.set_body(synthetic_body())
    extra = synthetic_regressor("J_regressor_extra", EXTRA_ROWS)
    network.human_model_layer.set_joint_regressor(extra)
    person = (tensor[:1] for tensor in example_people())
    inputs = dict(zip(CROWDNET_INPUTS, person, strict=True))
    return {"person": Export(MeshGraph(network).eval(), inputs, BODY_OUTPUTS)}


def _virtualpose_backbone(network: Any) -> Graphs:
    _, _, height, width = entry("virtualpose_backbone").input_shape
    return {"whole": virtualpose.backbone_export(network, (width, height))}


def _virtualpose(network: Any) -> Graphs:
    return {
        "root": virtualpose.root_export(network),
        "pose, 1 person": virtualpose.pose_export(network, people=1),
    }


GRAPHS: dict[str, Callable[[Any], Graphs]] = {
    "smap": _whole("smap", "heatmap_2d", "det_d", "root_d"),
    "smap_lite": _whole("smap_lite", "heatmap_2d", "det_d", "root_d"),
    "refinenet": _whole("refinenet", "out"),
    "fusing": _whole("fusing", "output"),
    "maed": _maed,
    "mobilehuman": _mobilehuman,
    "crowdnet": _crowdnet,
    "hap_crowdnet": _crowdnet,
    "virtualpose_backbone": _virtualpose_backbone,
    "virtualpose": _virtualpose,
    "virtualpose_lite": _virtualpose,
}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
