"""NVIDIA's own parser and builder (TensorRT-RTX, which needs no GPU) on the exporters' graphs.

The official networks have their official sizes and random weights. Together they take minutes: an
exporter traces each, and the builder goes through as many kernels as it would for a robot.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines.factory import HALF
from smap_ros.engines.tensorrt.building import Order, build_plan
from smap_train.export.half_graph import add_half_graph
from smap_train.export.maed import CLIP_OUTPUTS, TokenGraph
from smap_train.export.mesh import EXTRA_ROWS, MeshGraph, mesh_export
from smap_train.export.networks import one_input
from smap_train.export.registry import deployed_graphs
from smap_train.export.smap import refine_export
from smap_train.export.topdown import example_crops
from smap_train.models import create
from smap_train.models.deployment import Export
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.maed.graphs import FrameGraph
from smap_train.models.virtualpose import graphs as virtualpose

RTX = "tensorrt_rtx_bindings"
SMALL = {"image_size": 32, "width": 24, "depth": 2, "heads": 3, "blocks": (1, 1, 1)}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(RTX) is None,
    reason="TensorRT-RTX isn't installed: pip install 'smap-ros[gpu-check]' (95 MB)",
)


def network(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return create(name, **options).eval()


def maed_frame(made: Any) -> Export:
    size = made.encoder.image_size
    return one_input(FrameGraph(made), torch.randn(2, 3, size, size), ("tokens",), free_batch=True)


def maed_clip(made: Any) -> Export:
    made.decoder.smpl.set_body(synthetic_body())
    made.decoder.smpl.set_joint_regressors(synthetic_regressor("J_regressor_extra", EXTRA_ROWS))
    tokens = made.encoder.pos_embed.shape[1] - 1, made.encoder.pos_embed.shape[2]
    clip, graph = torch.randn(1, 16, *tokens), TokenGraph(made, "spin49").eval()
    return one_input(graph, clip, CLIP_OUTPUTS, input_name="tokens")


def mesh(made: Any) -> Export:
    made.human_model_layer.set_body(synthetic_body())
    extra = synthetic_regressor("J_regressor_extra", EXTRA_ROWS)
    made.human_model_layer.set_joint_regressor(extra)
    return mesh_export(MeshGraph(made).eval())


OFFICIAL: dict[str, tuple[str, Callable[[Any], Export]]] = {
    "SMAP": ("smap", lambda n: deployed_graphs("smap", n)["whole"]),
    "RefineNet": ("refinenet", refine_export),
    "VirtualPose backbone": (
        "virtualpose_backbone",
        lambda n: deployed_graphs("virtualpose_backbone", n)["whole"],
    ),
    "VirtualPose root": ("virtualpose", virtualpose.root_export),
    "VirtualPose pose": ("virtualpose", virtualpose.pose_export),
    "MobileHumanPose": (
        "mobilehuman",
        lambda n: one_input(n, example_crops(255), ("coord",), free_batch=True),
    ),
    "3DCrowdNet": ("crowdnet", mesh),
    "HAP": ("hap_crowdnet", mesh),
    "MAED frame": ("maed", maed_frame),
    "MAED clip": ("maed", maed_clip),
}


def build(export: Export, path: Any) -> tuple[int, int]:
    """Bytes of an exported graph and of its plan."""
    export.write(path)
    # VirtualPose's third network wants 1.1 GB for eight people.
    order = Order(tf32=False, rows=8, workspace=2 << 30, module=RTX, capability="SM89")
    return path.stat().st_size, len(build_plan(path.read_bytes(), order))


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_graphs_build(name, tmp_path, record_property):
    registered, export = OFFICIAL[name]
    size, plan = build(export(network(registered)), tmp_path / "graph.onnx")
    record_property("megabytes", f"{size / 1e6:.1f} {plan / 1e6:.1f}")
    assert plan > size // 4


def test_attention_over_space_and_time_builds(tmp_path):
    """MAED's ``parallel`` mode; of two attentions on one projection the builder used to die."""
    _, plan = build(maed_clip(network("maed", **SMALL)), tmp_path / "clip.onnx")
    assert plan > 0


@pytest.mark.parametrize("name", ["smap_lite", "virtualpose_lite"])
def test_graphs_of_half_precision_build(name, tmp_path):
    """Strongly typed, as TensorRT 11 has it: what the file says is what is computed."""
    shipped = load_bundle(name)
    made, _ = add_half_graph(load_bundle(shutil.copytree(shipped.folder, tmp_path / name)))
    full, half = (
        len(build_plan(made.read(role), Order(tf32=True, module=RTX, capability="SM89")))
        for role in ("model", HALF)
    )
    assert half < 0.7 * full
