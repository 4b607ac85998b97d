"""`smap-train fit-virtualpose`: train virtualpose_lite's REN and PEN, with exact resume.

Su et al., ECCV 2022, stage 2: both learn from poses and cameras alone, for all they see are
heatmaps. Half of the scenes may be rendered ones with the heatmaps that the backbone really
gives, since no invented noise is quite like a network's.

Unlike there, PEN gets the true roots, displaced as REN's are, instead of REN's candidates: then
neither has to wait for the other, and a step costs the same from the first one on.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pydantic import Field
from torch import Tensor

from smap_train.data.level_scenes import LevelScenes, RandomScenes, SeenScenes, collate
from smap_train.loop import Module, RunConfig, shards, start, train
from smap_train.models.virtualpose.cameras import Cameras, depth_unit_mm
from smap_train.models.virtualpose.config import ROOT
from smap_train.models.virtualpose.detection import gather
from smap_train.models.virtualpose.lite import VirtualPoseLite
from smap_train.models.virtualpose.losses import masked_l1
from smap_train.models.virtualpose.model import Truth
from smap_train.models.virtualpose.projection import widened
from smap_train.refine import sample_poses
from smap_train.settings import read_config

Batch = tuple[Tensor, Cameras, Truth]

# Weights of the losses; each term is then about 1 in the beginning.
WEIGHTS = {"cube": 300.0, "depth": 0.001, "sides": 0.1, "joints": 0.01}
_PEOPLE_WEIGHT = 10.0  # of voxels where somebody is: a cube is nearly empty
_OUTSIDE_WEIGHT = 0.3  # of joints beyond the picture's border
_ROOT_SPREAD_MM = 110.0  # REN's voxels are 250 mm wide
_ROOT_SPREAD_ALONG = 0.04  # more along the ray, as a share of the distance


class VirtualPoseFitConfig(RunConfig):
    """Everything that determines a run."""

    motion: Path | None = Field(None, description="motion capture (.npz)")
    poses: int = Field(12_000, gt=0, description="poses to sample")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    backbone: str = Field("smap_lite", description="bundle whose heatmaps they are seen by")
    seen_share: float = Field(0.5, ge=0, le=1, description="share of scenes from the shards")
    seen_limit: int = Field(4000, gt=0, description="most pictures of the shards")
    network: dict[str, Any] = Field({}, description="options of virtualpose_lite")
    batch_size: int = Field(4, gt=0, description="scenes a step")
    people: int = Field(12, gt=0, description="most people of a step whose joints are learnt")
    learning_rate: float = Field(2e-3, gt=0, description="at the peak")
    warmup: int = Field(50, ge=0, description="steps that warm up")
    ema_decay: float = Field(0.995, gt=0, lt=1, description="of the averaged weights")
    workers: int = Field(0, ge=0, description="processes that prepare samples")


class VirtualPoseModule(Module):
    """virtualpose_lite with its losses."""

    config: VirtualPoseFitConfig

    def __init__(self, config: VirtualPoseFitConfig) -> None:
        super().__init__(config, "virtualpose_lite", config.network)
        self.model = VirtualPoseLite(**config.network)
        for part in (self.model.REN, self.model.PEN):
            part.v2v_net.to(memory_format=torch.channels_last_3d)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Weighted sum of the losses of one batch."""
        maps, cameras, truth = batch
        heatmaps = widened(maps, self.model.config.widening)
        terms = self.root_losses(maps, heatmaps, cameras, truth)
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.global_step)
        terms["joints"] = self.joint_loss(heatmaps, cameras, truth, random)
        return self.log_losses(terms, WEIGHTS)

    def root_losses(
        self, maps: Tensor, heatmaps: Tensor, cameras: Cameras, truth: Truth
    ) -> dict[str, Tensor]:
        """REN's: mean squared error of the cube; mean errors of depths (mm) and sides (cells)."""
        found = self.model.REN(maps, heatmaps, cameras)
        unit = depth_unit_mm(cameras, self.model.config)[:, None]
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

    def joint_loss(
        self, heatmaps: Tensor, cameras: Cameras, truth: Truth, random: torch.Generator
    ) -> Tensor:
        """PEN's: mean absolute error of coordinates, mm, of some of the people in view."""
        image, person = torch.nonzero(truth.people & (truth.in_view > 0), as_tuple=True)
        some = torch.randperm(len(image), generator=random)[: self.config.people]
        if len(some) == 0:
            return heatmaps.sum() * 0.0
        image, person = image[some], person[some]
        joints, weight = truth.joints_mm[image, person], truth.joints_weight[image, person]
        seen_by = cameras.pick(image)
        roots = displaced(joints[:, ROOT], seen_by.position_mm, random)
        error = (self.model.PEN(heatmaps[image], roots, seen_by) - joints).abs().mean(-1)
        weight = weight.clamp(min=_OUTSIDE_WEIGHT)
        return (error * weight).sum() / weight.sum()


def displaced(roots_mm: Tensor, camera_mm: Tensor, random: torch.Generator) -> Tensor:
    """Roots [N, 3] as far off as REN's are: by its voxels, and along the ray."""
    ray = roots_mm - camera_mm
    along = ray * (torch.randn(len(ray), 1, generator=random) * _ROOT_SPREAD_ALONG)
    return roots_mm + torch.randn(len(ray), 3, generator=random) * _ROOT_SPREAD_MM + along


def load_config(path: Path, overrides: list[str]) -> VirtualPoseFitConfig:
    """The configuration in a file, see :func:`smap_train.settings.read_config`."""
    return read_config(VirtualPoseFitConfig, path, overrides)


def training_set(config: VirtualPoseFitConfig, network: VirtualPoseLite) -> LevelScenes:
    """The mixture a configuration asks for."""
    seen = None
    if config.virtual and config.seen_share > 0:
        seen = SeenScenes(config.virtual, config.backbone, network.config, config.seen_limit)
    return LevelScenes(
        RandomScenes(sample_poses(config.motion, config.poses, config.seed), network.config),
        seen,
        seen_share=config.seen_share,
        length=config.steps * config.batch_size,
        seed=config.seed,
    )


def fit(config: VirtualPoseFitConfig, stop_after: int | None = None) -> Path:
    """Train, or resume, and write ``virtualpose_lite.pth``, see :func:`smap_train.loop.train`."""
    start(config)
    module = VirtualPoseModule(config)
    files = ([config.motion] if config.motion else []) + shards(config.virtual)
    collated = partial(collate, config=module.model.config)
    return train(module, training_set(config, module.model), files, collated, stop_after)


def run(
    config: Annotated[Path, typer.Argument(help="YAML, see training/configs/")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    stop_after: Annotated[int | None, typer.Option(help="Stop at this step of the run.")] = None,
) -> None:
    """Train virtualpose_lite; run again to resume from the last checkpoint.

    Example: smap-train fit-virtualpose training/configs/virtualpose_lite.yaml steps=2000
    """
    weights = fit(load_config(config, overrides or []), stop_after)
    typer.echo(f"weights: {weights}")
