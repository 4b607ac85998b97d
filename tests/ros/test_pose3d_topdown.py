"""The pose node with a top-down model: another bundle in one parameter, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bundles.bundle import write_bundle
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.skeletons import H36M18, MPI15

PELVIS = MPI15.root
BEHIND = 0.25  # metres from a pelvis to where the spot network puts everything


@pytest.fixture
def topdown_bundle(bundles, scene, spot_onnx, crop_manifest):
    """A top-down bundle beside the one that sees the scene, which it names as its first stage."""
    first = Path(bundles(scene))
    (first.parent / "spot.onnx").write_bytes(spot_onnx(len(H36M18)))
    return str(
        write_bundle(first.parent / "spot", crop_manifest(), first.parent / "spot.onnx").folder
    )


def test_people_of_a_top_down_model_are_published(start, observer, eye, scene, topdown_bundle):
    bodies = observer.collect(BodyArray, "bodies_raw")
    infos = observer.collect(SkeletonInfo, "skeleton_info", qos.LATCHED)
    node = start(
        "pose3d_node", bundle=topdown_bundle, fov_deg=80.0, engine="onnxruntime", threads=1
    )
    eye.ready()
    observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher of people")
    message = observer.wait(
        lambda: (eye.show(), time.sleep(0.2), next(iter(bodies), None))[-1], "people"
    )
    depths = [body.positions[PELVIS].z for body in message.bodies]
    np.testing.assert_allclose(depths, scene.joints[:, PELVIS, 2] + BEHIND, atol=0.02)
    info = observer.wait(lambda: next(iter(infos), None), "the joint set")
    assert (info.model, info.name) == ("spot", "mpi15")
    values = observer.wait(
        lambda: (v := observer.values("pose3d_node")) and "model" in v and v, "diagnostics"
    )
    assert "spot 1 after scene 1 on onnxruntime" in values["model"]
    assert "Traceback" not in node.log
