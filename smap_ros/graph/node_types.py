"""The kinds of nodes: what each is called, declares, and subscribes or publishes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from smap_ros.estimators.options import MODEL_SETTINGS, MountingOptions
from smap_ros.graph.parameters import (
    CameraNodeOptions,
    MarkersNodeOptions,
    Pose3dNodeOptions,
    RecorderNodeOptions,
    SmootherNodeOptions,
    ViewNodeOptions,
)
from smap_ros.settings import Changes, Options, Setting, settings_of


@dataclass(frozen=True)
class NodeType:
    """A kind of node.

    Attributes:
        name: of the node and of its executable.
        module: Python module whose ``main`` runs it.
        options: what users may set of it.
        topics: relative names of the topics a graph may remap.
        further: settings that are not in ``options``.
        lifecycle: whether it is a lifecycle node.
    """

    name: str
    module: str
    options: type[Options]
    topics: tuple[str, ...]
    further: tuple[Setting, ...] = ()
    lifecycle: bool = False

    @cached_property
    def parameters(self) -> tuple[Setting, ...]:
        """What it declares. A node without a life cycle is configured when it starts."""
        return tuple(
            one
            if self.lifecycle or one.changes is Changes.ANY_TIME
            else replace(one, changes=Changes.START)
            for one in (*settings_of(self.options), *self.further)
        )

    def parameter(self, name: str) -> Setting:
        """The parameter of that name."""
        return next(p for p in self.parameters if p.name == name)


CAMERA_NODE = NodeType(
    "camera_node",
    "smap_ros.nodes.camera",
    CameraNodeOptions,
    ("image", "camera_info", "bodies_raw"),
)
POSE3D_NODE = NodeType(
    "pose3d_node",
    "smap_ros.nodes.pose3d",
    Pose3dNodeOptions,
    ("image", "camera_info", "bodies_raw", "meshes"),
    further=MODEL_SETTINGS,
    lifecycle=True,
)
SMOOTHER_NODE = NodeType(
    "smoother_node", "smap_ros.nodes.smoother", SmootherNodeOptions, ("bodies_raw", "bodies")
)
MARKERS_NODE = NodeType(
    "markers_node",
    "smap_ros.nodes.markers",
    MarkersNodeOptions,
    # Where both are one topic, it is fed by the pose node.
    ("image", "bodies", "bodies_raw"),
)
# Where the camera is stated for a model, the viewer draws the floor from the same.
MOUNTING = tuple(MountingOptions.model_fields)
VIEW_NODE = NodeType(
    "view_node",
    "smap_ros.nodes.view",
    ViewNodeOptions,
    ("image", "camera_info", "bodies", "meshes"),
    further=tuple(one for one in MODEL_SETTINGS if one.name in MOUNTING),
)
NODES: dict[str, NodeType] = {
    node.name: node for node in (CAMERA_NODE, POSE3D_NODE, SMOOTHER_NODE, MARKERS_NODE, VIEW_NODE)
}
RECORDER_NODE = NodeType(
    "recorder_node", "smap_ros.nodes.recorder", RecorderNodeOptions, ("image",)
)
COMPOSED_NAME, COMPOSED_MODULE = "composed_node", "smap_ros.nodes.composed"
RVIZ_NAME, RVIZ_MODULE = "rviz_node", "smap_ros.nodes.rviz"
RVIZ_TOPICS = ("bodies", "bodies_raw")  # of people, whose frame it shows
