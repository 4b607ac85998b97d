"""VirtualPose for CPUs: few and wide voxels, narrow networks, heatmaps from smap_lite."""

from __future__ import annotations

from typing import Any

from torch import nn

from smap_train.models.virtualpose.model import VirtualPose

# The backbone is smap_lite: 15 heatmaps of 112 x 64 cells for an image of 448 x 256.
LITE: dict[str, Any] = {
    "joints": 15,
    "image_size": (448, 256),
    "map_size": (112, 64),
    "cell_shift": 0.5,
    "box_maps": False,
    "max_people": 8,
    "space_size_mm": (10_000.0, 10_000.0, 1600.0),
    "space_center_mm": (0.0, 0.0, 800.0),
    "space_bins": (40, 40, 8),
    "person_bins": 20,
    "widening": (2, 5, 12),
    "peak_bins": 3,
    "root_threshold": 0.35,
    "depth_sigma_mm": 500.0,
    "beta": 10.0,
    "v2v_width": 16,
    "v2v_kernel": 3,
    "depth_stem_width": 16,
    "depth_head_width": 32,
    "depth_stem_stride": 2,
}
# Training starts where depths are on average: people at 4 m seen with 400 px of focal length.
_DEPTH_PRIOR = 10.0  # mm per pixel


class VirtualPoseLite(VirtualPose):
    """VirtualPose with other defaults; see there for inputs and outputs.

    Its maps are smap_lite's 15 heatmaps alone: the network that estimates roots' depths from
    them estimates the sides of people's boxes as well. Heatmaps are widened to the width of the
    voxels that read them, since smap_lite's peaks are narrow and the voxels wide.

    Args:
        options: fields of ``VirtualPoseConfig`` that differ from ``LITE``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**LITE, **options})
        nn.init.constant_(self.REN.depth_net.depth[-1].bias, _DEPTH_PRIOR)
