"""Recipe ``virtualpose_lite``: its REN and PEN, which learn from heatmaps alone.

Su et al., ECCV 2022, stage 2: both learn from poses and cameras alone, for all they see are
heatmaps. Half of the scenes may be rendered ones with the heatmaps that the backbone really
gives, since no invented noise is quite like a network's.

Unlike there, PEN gets the true roots, displaced as REN's are, instead of REN's candidates: then
neither has to wait for the other, and a step costs the same from the first one on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from smap_train.data.level_scenes import LevelScenes, RandomScenes, SeenScenes, collate
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import SKIPPED
from smap_train.losses.shared import device_number, mean_count
from smap_train.models.virtualpose.cameras import Cameras, depth_unit_mm
from smap_train.models.virtualpose.config import ROOT, VirtualPoseConfig
from smap_train.models.virtualpose.detection import gather
from smap_train.models.virtualpose.lite import VirtualPoseLite
from smap_train.models.virtualpose.losses import masked_l1
from smap_train.models.virtualpose.model import Truth
from smap_train.models.virtualpose.projection import widened
from smap_train.recipes.base import Recipe
from smap_train.virtual.pose_pool import sample_poses

Batch = tuple[Tensor, Cameras, Truth]

# Weights of the losses; each term is then about 1 in the beginning.
WEIGHTS = {"cube": 300.0, "depth": 0.001, "sides": 0.1, "joints": 0.01}
_PEOPLE_WEIGHT = 10.0  # of voxels where somebody is: a cube is nearly empty
_OUTSIDE_WEIGHT = 0.3  # of joints beyond the picture's border
_ROOT_SPREAD_MM = 110.0  # REN's voxels are 250 mm wide
_ROOT_SPREAD_ALONG = 0.04  # more along the ray, as a share of the distance


class VirtualPoseLiteConfig(RunConfig):
    """Everything that determines a run."""

    recipe: Literal["virtualpose_lite"] = Field("virtualpose_lite", description="this recipe")
    motion: Path | None = Field(None, description="motion capture (.npz)")
    poses: int = Field(12_000, gt=0, description="poses to sample")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    backbone: str = Field("smap_lite", description="bundle whose heatmaps they are seen by")
    seen_share: float = Field(0.5, ge=0, le=1, description="share of scenes from the shards")
    seen_limit: int = Field(4000, gt=0, description="most pictures of the shards")
    network: dict[str, Any] = Field({}, description="options of virtualpose_lite")
    batch_size: int = Field(4, gt=0, description="scenes a step")
    people: int = Field(
        12, gt=0, description="most people of a step whose joints are learnt, shared by its scenes"
    )
    learning_rate: float = Field(2e-3, gt=0, description="at the peak")
    warmup: int = Field(50, ge=0, description="steps that warm up")
    ema_decay: float = Field(0.995, gt=0, lt=1, description="of the averaged weights")
    workers: int = Field(0, ge=0, description="processes that prepare samples")
    strategy: str = Field(
        "ddp_find_unused_parameters_true",
        description="of Lightning, for several devices: PEN waits for people in view",
    )


class VirtualPoseLiteRecipe(Recipe[VirtualPoseLiteConfig]):
    """virtualpose_lite with its losses."""

    config_type: ClassVar[type[RunConfig]] = VirtualPoseLiteConfig
    summary = "VirtualPose's 3D networks behind smap_lite's heatmaps"
    model = "virtualpose_lite"
    bundle_kind = "virtualpose"

    @classmethod
    def export_options(cls, config: VirtualPoseLiteConfig) -> dict[str, Any]:
        """The bundle's other network: of the bundle whose heatmaps it learnt from."""
        return {"backbone": Path(config.backbone)}

    def __init__(self, config: VirtualPoseLiteConfig) -> None:
        super().__init__(config)
        self.options = dict(config.network)
        self.settings = VirtualPoseLite(**config.network).config

    def network(self) -> VirtualPoseLite:
        """REN and PEN, untrained."""
        network = VirtualPoseLite(**self.config.network)
        for part in (network.REN, network.PEN):
            part.v2v_net.to(memory_format=torch.channels_last_3d)
        return network

    def dataset(self) -> LevelScenes:
        """The mixture that the configuration asks for."""
        return training_set(self.config, self.settings)

    def collate(self) -> Callable[[list[Any]], Any]:
        """Scenes with any number of people in one batch."""
        return partial(collate, config=self.settings)

    def losses(self, network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """Of roots and of joints."""
        assert isinstance(network, VirtualPoseLite)
        maps, cameras, truth = batch
        heatmaps = widened(maps, network.config.widening)
        terms = root_losses(network, maps, heatmaps, cameras, truth)
        first = device_number() * len(maps)
        seed = (self.config.seed * 1_000_003 + step) * self.config.batch_size + first
        draws = [torch.Generator().manual_seed(seed + scene) for scene in range(len(maps))]
        terms["joints"] = self.joint_loss(network, heatmaps, cameras, truth, draws)
        return terms

    def loss_weights(self) -> Mapping[str, float]:
        """See :data:`WEIGHTS`."""
        return WEIGHTS

    def files(self) -> list[Path]:
        """Motion capture and shards."""
        motion = [self.config.motion] if self.config.motion else []
        return motion + shard_files(self.config.virtual)

    def joint_loss(
        self,
        network: VirtualPoseLite,
        heatmaps: Tensor,
        cameras: Cameras,
        truth: Truth,
        draws: Sequence[torch.Generator],
    ) -> Tensor:
        """PEN's: mean absolute error of coordinates, mm, of some of the people in view.

        Who and how far off they are found is drawn scene by scene, each from its own place in
        the step: on any number of devices the same.
        """
        image, person = torch.nonzero(truth.people & (truth.in_view > 0), as_tuple=True)
        most = max(self.config.people // self.config.batch_size, 1)
        some, offsets = drawn(image.cpu(), most, draws)
        if len(some) == 0:
            mean_count(0, heatmaps)  # the other devices ask as well
            return heatmaps.sum() * 0.0
        some = some.to(image.device)
        image, person = image[some], person[some]
        joints, weight = truth.joints_mm[image, person], truth.joints_weight[image, person]
        seen_by = cameras.pick(image)
        roots = displaced(joints[:, ROOT], seen_by.position_mm, offsets)
        error = (network.PEN(heatmaps[image], roots, seen_by) - joints).abs().mean(-1)
        weight = weight.clamp(min=_OUTSIDE_WEIGHT)
        return (error * weight).sum() / mean_count(weight.sum(), error, least=1e-6)


def root_losses(
    network: VirtualPoseLite, maps: Tensor, heatmaps: Tensor, cameras: Cameras, truth: Truth
) -> dict[str, Tensor]:
    """REN's: mean squared error of the cube; mean errors of depths (mm) and sides (cells)."""
    found = network.REN(maps, heatmaps, cameras)
    unit = depth_unit_mm(cameras, network.config)[:, None]
    depth = gather(found.depth_map, truth.inds)[..., 0] * unit
    sides = gather(found.sides, truth.inds)
    # Errors of far people are larger, and mean as little: a share of their distance counts.
    error = (found.root_cubes - truth.root_cube).square()
    share = 3000.0 / truth.depth_mm.clamp(min=500.0)
    return {
        "cube": (error * (1 + _PEOPLE_WEIGHT * truth.root_cube)).mean(),
        "depth": masked_l1(depth * share, truth.depth_mm * share, truth.in_view),
        "sides": masked_l1(sides, truth.sides, truth.in_view[..., None].expand_as(sides)),
    }


def drawn(image: Tensor, most: int, draws: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Some people of each scene.

    Args:
        image: int64 [P], each person's scene.
        most: people of a scene.
        draws: of each scene.

    Returns:
        int64 [N], who; and numbers [N, 4], normally distributed, for :func:`displaced`.
    """
    some, offsets = [], []
    for scene, random in enumerate(draws):
        own = torch.nonzero(image == scene)[:, 0]
        own = own[torch.randperm(len(own), generator=random)[:most]]
        some.append(own)
        offsets.append(torch.randn(len(own), 4, generator=random))
    return torch.cat(some), torch.cat(offsets)


def displaced(roots_mm: Tensor, camera_mm: Tensor, offsets: Tensor) -> Tensor:
    """Roots [N, 3] as far off as REN's are: by its voxels, and along the ray.

    Args:
        roots_mm, camera_mm: [N, 3].
        offsets: [N, 4], normally distributed.
    """
    offsets = offsets.to(roots_mm)
    along = (roots_mm - camera_mm) * (offsets[:, :1] * _ROOT_SPREAD_ALONG)
    return roots_mm + offsets[:, 1:] * _ROOT_SPREAD_MM + along


def training_set(config: VirtualPoseLiteConfig, settings: VirtualPoseConfig) -> LevelScenes:
    """The mixture a configuration asks for."""
    seen = None
    if config.virtual and config.seen_share > 0:
        seen = SeenScenes(
            config.virtual, config.backbone, settings, config.seen_limit, config.on_bad,
            config.out / SKIPPED,
        )  # fmt: skip
    return LevelScenes(
        RandomScenes(sample_poses(config.motion, config.poses, config.seed), settings),
        seen,
        seen_share=config.seen_share,
        length=config.steps * config.batch_size,
        seed=config.seed,
    )
