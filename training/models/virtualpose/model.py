"""From heatmaps and boxes to people in the world: REN, PEN and both together."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.cameras import Cameras, depth_unit_mm
from smap_train.models.virtualpose.config import DEPTH_JOINTS, ROOT, VirtualPoseConfig
from smap_train.models.virtualpose.detection import Detections, decode
from smap_train.models.virtualpose.projection import (
    Voxels,
    axis_mm,
    detection_weight,
    grid_mm,
    locate,
    read,
    voxel_pitch_mm,
    widened,
)
from smap_train.models.virtualpose.v2v import V2VNet


class Truth(NamedTuple):
    """The people of a batch of images, padded to P an image.

    Attributes:
        roots_mm: [B, P, 3], world.
        joints_mm: [B, P, J, 3], world.
        joints_weight: [B, P, J], 0 where a joint is unknown.
        people: bool [B, P], False for padding.
        inds: int64 [B, P], the root's cell in the flattened maps.
        sides: [B, P, 4], distances from the root to the box's sides, cells.
        depth_mm: [B, P], of the root, along the optical axis.
        in_view: [B, P], 1 where the root lies in the maps, so box and depth are learnt.
        root_cube: [B, X, Y, Z], what the root cube should be.
    """

    roots_mm: Tensor
    joints_mm: Tensor
    joints_weight: Tensor
    people: Tensor
    inds: Tensor
    sides: Tensor
    depth_mm: Tensor
    in_view: Tensor
    root_cube: Tensor


class Roots(NamedTuple):
    """What root estimation finds.

    Attributes:
        depth_map: [B, 1, h, w], normalised root depth.
        sides: [B, 4, h, w], distances from the root to the box's sides, cells.
        detections: of the image.
        root_cubes: [B, X, Y, Z], scores of the voxels.
        xyz_mm: [B, K, 3], candidates in the world, best first.
        scores: [B, K], of the candidates.
    """

    depth_map: Tensor
    sides: Tensor
    detections: Detections
    root_cubes: Tensor
    xyz_mm: Tensor
    scores: Tensor


class RootEstimation(nn.Module):
    """REN: candidates for people's roots in the world."""

    def __init__(self, config: VirtualPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.depth_net = PoseDetResNet(
            18,
            config.joints,
            inputs=len(DEPTH_JOINTS),
            stem_stride=config.depth_stem_stride,
            max_pool=False,
            stem_width=config.depth_stem_width,
            head_width=config.depth_head_width,
            deconvolutions=2 + config.depth_stem_stride,
        )
        self.v2v_net = V2VNet(config.joints, 1, config.v2v_width, config.v2v_kernel)

    def forward(self, maps: Tensor, heatmaps: Tensor, cameras: Cameras) -> Roots:
        """Candidates in B images.

        Args:
            maps: [B, config.maps, h, w], heatmaps and box distances.
            heatmaps: [B, L * J, h, w], the heatmaps ``widened``.
            cameras: B of them.
        """
        joints = self.config.joints
        seen = maps.index_select(1, torch.tensor(DEPTH_JOINTS, device=maps.device))
        if self.config.box_maps:
            depth_map, sides = self.depth_net.depth_map(seen), maps[:, joints:]
        else:
            depth_map, sides = self.depth_net.depth_and_sides(seen)
        detections = self.detect(maps, sides, depth_map)
        root_cubes = self.v2v_net(self.cubes(heatmaps, detections, cameras))[:, 0]
        return Roots(depth_map, sides, detections, root_cubes, *self.peaks(root_cubes))

    def detect(self, maps: Tensor, sides: Tensor, depth_map: Tensor) -> Detections:
        """People in the maps; no gradient flows through what they mark."""
        config = self.config
        return decode(
            maps[:, ROOT : ROOT + 1].detach(),
            sides.detach(),
            depth_map.detach(),
            count=config.max_people,
            threshold=config.detection_threshold,
        )

    def voxels(self, cameras: Cameras) -> Voxels:
        """The voxels of the searched cube in each camera; the same as long as these are."""
        config, like = self.config, cameras.position_mm
        center = like.new_tensor(config.space_center_mm).expand(len(like), -1)
        grid = grid_mm(config.space_size_mm, config.space_bins, center)
        return locate(cameras, grid, config)

    def cubes(self, heatmaps: Tensor, detections: Detections, cameras: Cameras) -> Tensor:
        """Widened heatmaps in the searched cube, at the detections' depths: [B, J, X, Y, Z]."""
        config, voxels = self.config, self.voxels(cameras)
        unit = depth_unit_mm(cameras, config)
        weight = detection_weight(voxels, detections, unit, config.depth_sigma_mm)
        pitch = voxel_pitch_mm(config.space_size_mm, config.space_bins)
        heat = read(heatmaps, voxels, pitch, cameras, config)
        values = heat * weight[:, None]
        return values.clamp(0, 1).reshape(*values.shape[:2], *config.space_bins)

    def peaks(self, root_cubes: Tensor) -> tuple[Tensor, Tensor]:
        """Local maxima of the root cubes [B, X, Y, Z]: world mm [B, K, 3], scores [B, K]."""
        config, cubes = self.config, root_cubes.detach()
        highest = F.max_pool3d(cubes, config.peak_bins, 1, config.peak_bins // 2)
        scores, index = (cubes * (highest == cubes)).flatten(1).topk(config.max_people, dim=1)
        _, y_bins, z_bins = config.space_bins
        row = torch.div(index, z_bins, rounding_mode="floor")
        x = torch.div(row, y_bins, rounding_mode="floor")
        bins = torch.stack([x, row - x * y_bins, index - row * z_bins], dim=-1).to(cubes.dtype)
        size, center = cubes.new_tensor(config.space_size_mm), config.space_center_mm
        last = cubes.new_tensor(config.space_bins) - 1
        return bins / last * size + cubes.new_tensor(center) - size / 2, scores


class PoseEstimation(nn.Module):
    """PEN: joints of people whose roots are known, each in a cube around the root."""

    def __init__(self, config: VirtualPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.v2v_net = V2VNet(config.joints, config.joints, config.v2v_width, config.v2v_kernel)

    def forward(self, heatmaps: Tensor, roots_mm: Tensor, cameras: Cameras) -> Tensor:
        """Joints in the world.

        Args:
            heatmaps: [N, L * J, h, w], for each person those of their image, ``widened``.
            roots_mm: [N, 3], world.
            cameras: N of them.

        Returns:
            [N, J, 3], mm.
        """
        scores = self.v2v_net(self.cubes(heatmaps, roots_mm, cameras))
        return self.expect(scores) + roots_mm[:, None]

    def cubes(self, heatmaps: Tensor, roots_mm: Tensor, cameras: Cameras) -> Tensor:
        """Widened heatmaps in the people's cubes: [N, J, bins, bins, bins]."""
        bins = (self.config.person_bins,) * 3
        grid = grid_mm((self.config.person_size_mm,) * 3, bins, roots_mm)
        pitch = voxel_pitch_mm((self.config.person_size_mm,) * 3, bins)
        values = read(heatmaps, locate(cameras, grid, self.config), pitch, cameras, self.config)
        return values.clamp(0, 1).reshape(*values.shape[:2], *bins)

    def expect(self, scores: Tensor) -> Tensor:
        """Soft argmax: [N, J, bins, bins, bins] -> mean offset from the cube's centre, [N, J, 3].

        The probabilities are summed to one distribution an axis before they meet coordinates.
        That keeps float32 within 0.01 mm; summed voxel by voxel as officially, it errs by 1 mm.
        """
        highest = scores.detach().amax((2, 3, 4), keepdim=True)
        likely = ((scores - highest) * self.config.beta).exp()
        plane = likely.sum(4)  # [N, J, x, y]
        marginals = torch.stack([plane.sum(3), plane.sum(2), likely.sum(2).sum(2)], dim=2)
        axis = axis_mm(self.config.person_size_mm, self.config.person_bins, scores)
        return (marginals * axis).sum(-1) / marginals.sum(-1)


class VirtualPose(nn.Module):
    """REN and PEN: everything after the backbone.

    ``forward`` takes heatmaps and box distances, float32 [B, config.maps, h, w], one camera an
    image and, for training and evaluation, the truth. It returns a dict, lengths in mm:

    - ``pred`` [B, K, J, 5]: x, y, z in the world, the candidate's flag and its score;
    - ``grid_centers`` [B, K, 5]: the candidates, likewise. A flag of -1 means nobody: without
      truth, flags are 0 for candidates that score above ``root_threshold``; with it, they are
      the index of the nearest person if one is nearer than ``matched_threshold_mm``;
    - ``dec_bboxes`` [B, K, 4] (cells), ``dec_depths`` [B, K, 1], ``dec_roots_2d`` [B, K, 2]
      (cells): the detections in the maps;
    - ``depth_map`` [B, 1, h, w] (normalised), ``sides`` [B, 4, h, w] (cells) and
      ``root_cubes`` [B, X, Y, Z].

    Args:
        options: fields of ``VirtualPoseConfig``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.config = VirtualPoseConfig(**options)
        self.REN = RootEstimation(self.config)
        self.PEN = PoseEstimation(self.config)

    def forward(
        self, maps: Tensor, cameras: Cameras, truth: Truth | None = None
    ) -> dict[str, Tensor]:
        """Predict; see the class."""
        heatmaps = widened(maps[:, : self.config.joints], self.config.widening)
        roots: Roots = self.REN(maps, heatmaps, cameras)
        flags = self.flags(roots, truth)
        centers = torch.cat([roots.xyz_mm, flags[..., None], roots.scores[..., None]], dim=-1)
        unit = depth_unit_mm(cameras, self.config)[:, None, None]
        return {
            "pred": self.poses(heatmaps, centers, cameras),
            "grid_centers": centers,
            "dec_bboxes": roots.detections.bboxes,
            "dec_depths": roots.detections.depths * unit,
            "dec_roots_2d": roots.detections.xys,
            "depth_map": roots.depth_map,
            "sides": roots.sides,
            "root_cubes": roots.root_cubes,
        }

    def flags(self, roots: Roots, truth: Truth | None) -> Tensor:
        """Who each candidate is, [B, K]; -1 for nobody."""
        if truth is None:
            return (roots.scores > self.config.root_threshold).to(roots.scores.dtype) - 1
        apart = (roots.xyz_mm[:, :, None] - truth.roots_mm[:, None]).norm(dim=-1)  # [B, K, P]
        apart = apart.masked_fill(~truth.people[:, None], torch.inf)
        nearest, person = apart.min(-1)
        matched = nearest <= self.config.matched_threshold_mm
        return torch.where(matched, person, -1).to(roots.scores.dtype)

    def poses(self, heatmaps: Tensor, centers: Tensor, cameras: Cameras) -> Tensor:
        """``pred`` of candidates ``grid_centers``; all people go through PEN together.

        Args:
            heatmaps: [B, L * J, h, w], ``widened``.
            centers: [B, K, 5].
        """
        joints = self.config.joints
        image, candidate = torch.nonzero(centers[..., 3] >= 0, as_tuple=True)
        pred = centers.new_zeros(*centers.shape[:2], joints, 5)
        pred[..., 3:] = centers[:, :, None, 3:]
        if len(image) > 0:
            roots = centers[image, candidate, :3]
            found = self.PEN(heatmaps[image], roots, cameras.pick(image))
            pred[image, candidate, :, :3] = found
        return pred
