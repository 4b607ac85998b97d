"""VirtualPose cut in three for deployment.

Image -> ``BackboneGraph`` -> maps -> ``RootGraph`` -> candidates; those above the threshold ->
``PoseGraph`` -> joints. The projection into cubes lies inside the second and third graph, as
4-D grid samples; the camera is an input, so one file serves every mounting. At their borders
lengths are metres. Joints come in the camera's optical frame, candidates in the world's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from smap_ros.skeletons import MPI15
from smap_train.models.deployment import Export
from smap_train.models.smap_lite import SmapLite
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.cameras import Cameras, depth_unit_mm, make_camera, orbit_pose
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.model import VirtualPose
from smap_train.models.virtualpose.projection import widened

MM = 1000.0
CAMERA_INPUTS = ("rotation", "position", "intrinsics", "distortion", "image_size")


class BackboneGraph(nn.Module):
    """Image [1, 3, H, W] -> ``maps``, float32 [1, C, H/4, W/4].

    Of a ``PoseDetResNet``, heatmaps and box distances; it runs the flip test if the network does.
    Of a smap_lite, the heatmaps. Their own depth isn't needed.
    """

    outputs = ("maps",)

    def __init__(self, network: PoseDetResNet | SmapLite) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """See the class."""
        outputs = self.network(image)
        if isinstance(self.network, SmapLite):
            return (outputs["heatmap_2d"][:, : len(MPI15)],)
        return (torch.cat([outputs["pose"], outputs["bbox"]], dim=1),)


class RootGraph(nn.Module):
    """Maps [1, C, h, w] and a camera -> candidates for people, best first.

    - ``roots`` [1, K, 3], world, metres, and ``scores`` [1, K];
    - ``boxes`` [1, K, 4] and ``roots_2d`` [1, K, 2], map cells, and ``depths`` [1, K], metres:
      the detections in the maps, in an order of their own; dropped ones have a negative depth.
    """

    outputs = ("roots", "scores", "boxes", "roots_2d", "depths")

    def __init__(self, network: VirtualPose) -> None:
        super().__init__()
        self.network, self.config = network.REN, network.config

    def forward(
        self,
        maps: Tensor,
        rotation: Tensor,
        position: Tensor,
        intrinsics: Tensor,
        distortion: Tensor,
        image_size: Tensor,
    ) -> tuple[Tensor, ...]:
        """See the class; the camera's values are those of ``Cameras``, the position in metres."""
        camera = _cameras(rotation, position, intrinsics, distortion, image_size)
        heatmaps = widened(maps[:, : self.config.joints], self.config.widening)
        found = self.network(maps, heatmaps, camera)
        boxes, depths, _, _, roots_2d = found.detections
        unit = depth_unit_mm(camera, self.config)[:, None] / MM
        return found.xyz_mm / MM, found.scores, boxes, roots_2d, depths[..., 0] * unit


class PoseGraph(nn.Module):
    """Maps [1, C, h, w], N roots (world, metres) and a camera -> ``joints`` [N, J, 3].

    Joints are in the camera's optical frame, metres.
    """

    outputs = ("joints",)

    def __init__(self, network: VirtualPose) -> None:
        super().__init__()
        self.network, self.config = network.PEN, network.config

    def forward(
        self,
        maps: Tensor,
        roots: Tensor,
        rotation: Tensor,
        position: Tensor,
        intrinsics: Tensor,
        distortion: Tensor,
        image_size: Tensor,
    ) -> tuple[Tensor]:
        """See the class; the camera's values are those of ``Cameras``, the position in metres."""
        camera = _cameras(rotation, position, intrinsics, distortion, image_size)
        people = roots.shape[0]
        everyone = Cameras(*(v.expand(people, *v.shape[1:]) for v in camera))
        heatmaps = widened(maps[:, : self.config.joints], self.config.widening)
        joints = self.network(heatmaps.expand(people, -1, -1, -1), roots * MM, everyone)
        return ((joints - camera.position_mm) @ rotation[0].T / MM,)


def backbone_export(network: PoseDetResNet | SmapLite, image_size: tuple[int, int]) -> Export:
    """The first graph, for images of this width and height."""
    image = torch.randn(1, 3, *image_size[::-1], generator=torch.Generator().manual_seed(0))
    return _export(BackboneGraph(network), {"image": image})


def root_export(network: VirtualPose, maps: Tensor | None = None) -> Export:
    """The second graph.

    Args:
        network: whose REN it is.
        maps: example, [1, C, h, w].
    """
    config = network.config
    maps = _maps(config) if maps is None else maps
    return _export(RootGraph(network), {"maps": maps, **_inputs(_camera(config))})


def pose_export(
    network: VirtualPose,
    *,
    people: int | None = None,
    maps: Tensor | None = None,
    roots: Tensor | None = None,
    camera: Cameras | None = None,
) -> Export:
    """The third graph.

    Args:
        network: whose PEN it is.
        people: how many at a time; any number if None.
        maps: example, [1, C, h, w].
        roots: example, [N, 3], world, metres.
        camera: example, a batch of one.
    """
    config = network.config
    if roots is None:
        offsets = torch.randn(people or 2, 3, generator=torch.Generator().manual_seed(0)) * 0.3
        roots = torch.tensor(config.space_center_mm) / MM + offsets
    inputs = {
        "maps": _maps(config) if maps is None else maps,
        "roots": roots,
        **_inputs(_camera(config) if camera is None else camera),
    }
    return _export(PoseGraph(network), inputs, {} if people else {"roots": "people"})


def _export(
    graph: BackboneGraph | RootGraph | PoseGraph,
    inputs: Mapping[str, Tensor],
    dynamic: Mapping[str, str] | None = None,
) -> Export:
    return Export(graph.eval(), inputs, graph.outputs, dynamic or {})


def _cameras(
    rotation: Tensor, position: Tensor, intrinsics: Tensor, distortion: Tensor, image_size: Tensor
) -> Cameras:
    """The camera in millimetres. Runtimes warm up on zeros, and an empty image divides by zero."""
    return Cameras(rotation, position * MM, intrinsics, distortion, image_size.clamp(min=1.0))


def _maps(config: VirtualPoseConfig) -> Tensor:
    """Maps in which some people are detected."""
    width, height = config.map_size
    generator = torch.Generator().manual_seed(0)
    heat = torch.rand(1, config.joints, height, width, generator=generator) ** 4
    sides = torch.full((1, config.maps - config.joints, height, width), 8.0)
    return torch.cat([heat, sides], dim=1)


def _camera(config: VirtualPoseConfig) -> Cameras:
    """A camera that looks at the searched cube from 4 m."""
    rotation, position_mm = orbit_pose(0.0, 0.1, 0.3, 4000.0, config.space_center_mm[2])
    width, height = config.image_size
    intrinsics = (0.8 * width, 0.8 * width, width / 2, height / 2)
    return make_camera(rotation, position_mm, intrinsics, (width, height), (0.01, 0.0, 0.001))


def _inputs(camera: Cameras) -> dict[str, Tensor]:
    """A camera as the graphs take it, its position in metres."""
    values = camera._replace(position_mm=camera.position_mm / MM)
    return dict(zip(CAMERA_INPUTS, values, strict=True))
