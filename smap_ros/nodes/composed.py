"""Several of our nodes in one process."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter

from smap_ros.nodes.camera import CameraNode
from smap_ros.nodes.markers import MarkersNode
from smap_ros.nodes.pose3d import Pose3dNode
from smap_ros.nodes.runtime import run
from smap_ros.nodes.smoother import SmootherNode

_NODES: dict[str, Callable[..., Node]] = {
    "camera_node": CameraNode,
    "pose3d_node": Pose3dNode,
    "smoother_node": SmootherNode,
    "markers_node": MarkersNode,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the nodes that ``--nodes`` names; ROS arguments apply to all of them."""
    parser = argparse.ArgumentParser(
        description="smap_ros nodes in one process; ROS arguments follow --ros-args"
    )
    parser.add_argument(
        "--nodes",
        default="pose3d_node,smoother_node,markers_node",
        help=f"names with commas between; of {', '.join(_NODES)}",
    )
    parser.add_argument(
        "--parameters",
        type=json.loads,
        default={},
        help='JSON: parameters by node, for example {"pose3d_node": {"fov_deg": 60.0}}',
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    own = arguments[: arguments.index("--ros-args")] if "--ros-args" in arguments else arguments
    options = parser.parse_args(own)
    unknown = [name for name in options.nodes.split(",") if name not in _NODES]
    if unknown:
        parser.error(f"unknown nodes {', '.join(unknown)}; expected some of {', '.join(_NODES)}")
    factories = [
        partial(_NODES[name], parameter_overrides=_overrides(options.parameters.get(name, {})))
        for name in options.nodes.split(",")
    ]
    return run(factories, [sys.argv[0], *arguments])


def _overrides(values: dict[str, Any]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


if __name__ == "__main__":
    sys.exit(main())
