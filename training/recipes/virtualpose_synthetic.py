"""Recipe ``virtualpose_synthetic``: VirtualPose's REN and PEN from scenes that nobody ever saw.

Su et al., ECCV 2022, stage 2: both see heatmaps and boxes only, so poses and cameras are enough.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.data.layouts.panoptic import sequences
from smap_train.data.layouts.world import (
    WorldScene,
    WorldScenes,
    check_scenes,
    open_muco_world,
    open_panoptic_world,
    open_virtual_world,
)
from smap_train.data.shards import shard_files
from smap_train.data.synthetic_scenes import SyntheticScene, SyntheticScenes
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import Mixture, Source
from smap_train.models import create
from smap_train.models.virtualpose.cameras import Cameras
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.losses import (
    WEIGHT_CUBE,
    WEIGHT_DEPTH,
    WEIGHT_JOINTS,
    pose_losses,
)
from smap_train.models.virtualpose.model import Truth, VirtualPose
from smap_train.recipes.base import Recipe, beside, start_from
from smap_train.targets.agr import truth

Batch = tuple[Tensor, Cameras, Truth]

_MATCHED_MM = 500.0  # how far a candidate may be from a person to learn their pose


class VirtualPoseSyntheticConfig(RunConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    FREE: ClassVar[frozenset[str]] = RunConfig.FREE | {"backbone"}

    recipe: Literal["virtualpose_synthetic"] = Field(
        "virtualpose_synthetic", description="this recipe"
    )
    muco: Path | None = Field(None, description="MuCo-3DHP.json: 17 joints")
    panoptic: Path | None = Field(
        None, description="folder of sequences of CMU Panoptic: 15 joints, noses for head tops"
    )
    panoptic_every: int = Field(3, gt=0, description="take every n-th labelled frame of them")
    virtual: list[Path] = Field(
        [], description="folders of shards from `smap-train synth`: 15 joints"
    )
    network: dict[str, Any] = Field(
        {}, description="options of virtualpose; none: the official MuCo configuration"
    )
    backbone: Path | None = Field(
        None, description="virtualpose_backbone.pth of stage 1, for the export alone"
    )
    initial: Path | None = Field(None, description="weights to start from: virtualpose.pth")
    batch_size: int = Field(24, gt=0, description="scenes a step, over all devices together")
    learning_rate: float = Field(1e-4, gt=0, description="all the time")
    weight_decay: float = Field(0.0, ge=0, description="L2, on all parameters")
    warmup: int = Field(0, ge=0, description="steps that warm up")
    cooldown: float = Field(0.0, ge=0, le=1, description="share of the steps that cool down")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")
    strategy: str = Field(
        "ddp_find_unused_parameters_true",
        description="of Lightning, for several devices: PEN waits for candidates of REN",
    )


class VirtualPoseSyntheticRecipe(Recipe[VirtualPoseSyntheticConfig]):
    """virtualpose with its losses."""

    config_type: ClassVar[type[RunConfig]] = VirtualPoseSyntheticConfig
    optimiser = torch.optim.Adam  # its rate constant, as in stage 1
    summary = "VirtualPose's 3D networks, from poses and cameras alone (Su et al. 2022, stage 2)"
    model = "virtualpose"
    bundle_kind = "virtualpose"

    @classmethod
    def export_options(cls, config: VirtualPoseSyntheticConfig) -> dict[str, Any]:
        """The bundle's other network."""
        return {"backbone": config.backbone}

    @classmethod
    def next_step(cls, config: VirtualPoseSyntheticConfig, path: Path) -> str:
        """The export, or stage 1 if that is to come."""
        if config.backbone is not None and config.backbone.is_file():
            return super().next_step(config, path)
        first = beside(path, "virtualpose_synthetic", "virtualpose_backbone")
        if first is not None:
            return shlex.join(["smap-train", "fit", str(first)])
        return "smap-train recipes virtualpose_backbone"

    def __init__(self, config: VirtualPoseSyntheticConfig) -> None:
        super().__init__(config)
        joints = {} if config.muco else {"joints": 15}
        self.options = {"matched_threshold_mm": _MATCHED_MM, **joints, **config.network}
        self.settings = VirtualPoseConfig(**self.options)

    def network(self) -> VirtualPose:
        """Fresh weights, or those to start from."""
        network = create(self.model, **self.options)
        assert isinstance(network, VirtualPose)
        for head in (network.REN.depth_net.final_layer, network.REN.depth_net.bbox):
            head.requires_grad_(False)  # the depth network's other heads are of no use
        start_from(network, self.config.initial)
        return network

    def dataset(self) -> Mixture:
        """Scenes before the cameras of all recorded ones, with anybody's poses."""
        sources: list[tuple[str, WorldScenes]] = []
        if self.config.muco is not None:
            sources.append((str(self.config.muco), open_muco_world(self.config.muco)))
        if self.config.panoptic is not None:
            scenes = open_panoptic_world(self.config.panoptic, self.config.panoptic_every)
            sources.append((str(self.config.panoptic), scenes))
        if self.config.virtual:
            sources.append(("virtual people", open_virtual_world(self.config.virtual)))
        for name, scenes in sources:
            check_scenes(scenes)
            if scenes.joints < self.settings.joints:
                raise InputError(
                    f"{name} has people of {scenes.joints} joints, the network "
                    f"{self.settings.joints}; leave one of them out, or set network.joints to 15"
                )
        self.scenes = SyntheticScenes([scenes for _, scenes in sources], self.settings)
        return self.mixture([Source(name, scenes, self.sample) for name, scenes in sources])

    def sample(self, scene: WorldScene, rng: np.random.Generator) -> SyntheticScene:
        """A scene before a recorded camera."""
        return self.scenes.draw(scene, rng)

    def collate(self) -> Callable[[list[SyntheticScene]], Batch]:
        """Scenes in one batch."""
        return self._collate

    def _collate(self, scenes: list[SyntheticScene]) -> Batch:
        maps = torch.from_numpy(np.stack([scene.seen.maps for scene in scenes]))
        cameras = (torch.cat(part) for part in zip(*(s.camera for s in scenes), strict=True))
        return maps, Cameras(*cameras), truth([scene.seen for scene in scenes], self.settings)

    def losses(self, network: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """See :func:`smap_train.models.virtualpose.losses.pose_losses`."""
        maps, cameras, people = batch
        return pose_losses(network(maps, cameras, people), people, cameras, self.settings)

    def loss_weights(self) -> Mapping[str, float]:
        """The official ones."""
        return {"loss_depth": WEIGHT_DEPTH, "loss_3d": WEIGHT_CUBE, "loss_cord": WEIGHT_JOINTS}

    def files(self) -> list[Path]:
        """Annotations and shards."""
        config = self.config
        files = [config.muco] if config.muco else []
        if config.panoptic is not None:
            for one in sequences(config.panoptic, config.panoptic_every):
                files += [one.calibration, *one.labels.values()]
        return files + shard_files(config.virtual)
