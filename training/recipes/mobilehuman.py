"""Recipe ``mobilehuman``: MobileHumanPose (Choi et al., CVPR Workshops 2021) as officially trained.

Half of the samples are people with labelled depths, half come from photos with 2D labels alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from smap_ros.bundles.manifest.topdown import TopdownManifest
from smap_ros.errors import InputError
from smap_ros.estimators.persons.crops import Crop
from smap_ros.estimators.persons.topdown import Cube
from smap_train.data.augment import darkened, smeared
from smap_train.data.layouts.persons import PersonRecord
from smap_train.data.person_crop import (
    COVER_SHARE,
    MARGIN,
    TILT_SHARE,
    Image,
    View,
    cut,
    matrix_of,
    person_crop,
    viewed,
)
from smap_train.data.photo_people import PhotoData, PhotoPeople, open_photos
from smap_train.engine.config import Drops, RunConfig
from smap_train.engine.sampling import SKIPPED, Source
from smap_train.losses.axes import axis_loss
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint
from smap_train.models.finished import bundle_of, is_checkpoint, weights_file
from smap_train.models.mobilehuman import (
    BACKBONES,
    DEPTH_HALF_RANGE_M,
    INPUT_SIZE,
    JOINT_SETS,
    SIZE_STEP,
    MobileHuman,
    coordinate_loss,
)
from smap_train.models.mobilenet import (
    read_mobilenet,
    read_movenet_lightning,
    start_from_mobilenet,
)
from smap_train.recipes.base import start_from, start_from_exported
from smap_train.recipes.people import PeopleConfig, PeopleRecipe
from smap_train.targets.pixels import normalised
from smap_train.targets.volume import cells

_MM = 1000.0
_MEASURED_AT_ONCE = 16


class MobileHumanConfig(PeopleConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    recipe: Literal["mobilehuman"] = Field("mobilehuman", description="this recipe")
    margin: float = Field(MARGIN, ge=1, le=4, description="side of a crop over that of its box")
    backbone: Literal["LPSKI", "LPRES", "LPWO"] = Field("LPSKI", description="of the network")
    joints: Literal[15, 18, 21] = Field(
        18, description="joint set: 18 Human3.6M's, 21 MuCo's, 15 this project's"
    )
    channels: float = Field(1.0, gt=0, le=1, description="factor on the channels, 1/2, 1/4, ...")
    pixel_range: Literal[1, 255] = Field(255, description="the largest value of a pixel")
    first_weights: Literal["official", "torch"] = Field(
        "official", description="normal of 0.001, or as torch draws them"
    )
    initial: Path | None = Field(
        None, description="weights to start from: NAME.pth, or a bundle (shipped: mobilehuman_lite)"
    )
    mobilenet: Path | None = Field(
        None, description="MobileNetV2's ImageNet weights, which the encoder starts from"
    )
    movenet: Path | None = Field(
        None,
        description="archive of MoveNet's weights, from whose Lightning the encoder starts instead",
    )
    frozen_norms: bool = Field(
        False, description="batch norms of the encoder keep the statistics that they start with"
    )
    freeze_blocks: int = Field(
        0, ge=0, le=17, description="first blocks whose weights are held, and the stem's; 0: none"
    )
    encoder_rate: float = Field(1.0, ge=0, description="factor on the rate for the encoder")
    input_size: int = Field(
        INPUT_SIZE, ge=SIZE_STEP, multiple_of=SIZE_STEP, description="of the crops, pixels"
    )
    sports: PhotoData | None = Field(None, description="Leeds Sports Pose Extended")
    street: PhotoData | None = Field(None, description="Clothing Co-Parsing photos")
    holdout: int = Field(
        500, ge=0, description="last sports photos kept for testing; a fifth of it of the others"
    )
    axes: float = Field(
        0.0, ge=0, description="weight of the loss along each axis, which makes a start quick"
    )
    covered: float = Field(
        COVER_SHARE, ge=0, le=1, description="share of crops with a part hidden behind noise"
    )
    tilted: float = Field(
        TILT_SHARE, ge=0, le=1, description="share of crops turned by up to 60 degrees"
    )
    shift: float = Field(0.0, ge=0, le=1, description="largest of a crop, over its side")
    turned: float = Field(0.0, ge=0, le=1, description="share of crops turned by any angle")
    dark: float = Field(0.0, ge=0, le=1, description="share of crops so dark that noise shows")
    smeared: float = Field(0.0, ge=0, le=1, description="share of crops of a moving camera")
    batch_size: int = Field(64, gt=0, description="people a step, over all devices together")
    learning_rate: float = Field(1e-3, gt=0, description="at the start")
    drops: Drops = Field(
        [17 / 25, 21 / 25], description="shares of the steps at which the rate drops: epochs of 25"
    )


class MobileHumanRecipe(PeopleRecipe[MobileHumanConfig]):
    """mobilehuman with its loss."""

    config_type: ClassVar[type[RunConfig]] = MobileHumanConfig
    optimiser = torch.optim.Adam  # as officially
    summary = "MobileHumanPose: one person's joints from a crop, on a phone (Choi et al. 2021)"
    model = "mobilehuman"
    bundle_kind = "topdown"

    @classmethod
    def export_options(cls, config: MobileHumanConfig) -> dict[str, Any]:
        """Crops as large as they were in training."""
        return {"settings": {"box_margin": config.margin}}

    def __init__(self, config: MobileHumanConfig) -> None:
        super().__init__(config)
        self.skeleton = JOINT_SETS[config.joints]
        self.options = {
            "backbone": config.backbone, "joints": config.joints, "width": config.channels,
            "pixel_range": config.pixel_range, "input_size": config.input_size,
        }  # fmt: skip
        backbone = BACKBONES[config.backbone]
        self.grid = config.input_size // backbone.cell_size

    def network(self) -> MobileHuman:
        """Fresh weights, or those to start from."""
        network = create(self.model, **self.options)
        assert isinstance(network, MobileHuman)
        if self.config.first_weights == "official":
            network.backbone.start_officially()
        config = self.config
        network.backbone.frozen_norms = config.frozen_norms
        network.backbone.freeze(config.freeze_blocks)
        if config.mobilenet is not None:
            start_from_mobilenet(network.backbone, read_mobilenet(config.mobilenet))
        if config.movenet is not None:
            known = read_movenet_lightning(config.movenet, config.pixel_range)
            start_from_mobilenet(network.backbone, known)
        if config.initial is not None:
            self._check_pixels(config.initial)
        if config.initial is None or is_checkpoint(config.initial):
            start_from(network, config.initial)
        else:
            start_from_exported(network, config.initial, self.dataset())
        return network.train().to(memory_format=torch.channels_last)

    def _check_pixels(self, initial: Path) -> None:
        """Refuse weights that saw pixels of another range."""
        given, ours = _pixel_range(initial), self.config.pixel_range
        if given not in (None, ours):
            raise InputError(
                f"{initial} saw pixels of 0 to {given}, and this run's are 0 to {ours}; "
                f"set pixel_range={given}"
            )

    def parameter_groups(self, network: nn.Module) -> Iterable[Any]:
        """The encoder at a rate of its own; all alike officially."""
        assert isinstance(network, MobileHuman)
        encoder = network.backbone.encoder_parameters()
        held = {id(p) for p in encoder}
        others = [p for p in network.parameters() if p.requires_grad and id(p) not in held]
        config = self.config
        slow = [p for p in encoder if p.requires_grad]
        return [
            {"params": slow, "lr": config.learning_rate * config.encoder_rate},
            {"params": others},
        ]

    def flat_sources(self) -> list[Source[PersonRecord]]:
        """Data sets without depths, and photos, some of which have those that a model told."""
        config = self.config
        sports, street = open_photos(
            config.sports, config.street, config.holdout, config.on_bad, config.out / SKIPPED
        )
        photos = [
            Source(name, PhotoPeople(people, name), self.sample)
            for name, people in (("sports photos", sports), ("street photos", street))
            if people
        ]
        return super().flat_sources() + photos

    def files(self) -> list[Path]:
        """Annotations, shards, archives and the weights to start from."""
        config = self.config
        photos = [data for data in (config.sports, config.street) if data]
        initial = weights_file(config.initial) if config.initial else None
        starts = [p for p in (config.mobilenet, config.movenet, initial) if p]
        archives = [path for data in photos for path in (data.archive, data.pseudo)]
        return super().files() + archives + starts

    def sample(self, record: PersonRecord, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random crop of a person, as :meth:`tensors` has it."""
        config = self.config
        view = View.draw(rng, covered=config.covered, tilted=config.tilted, shift=config.shift)
        if config.turned and rng.random() < config.turned:
            view = replace(view, turn_deg=float(rng.uniform(-180, 180)))
        return self.tensors(record, view, rng)

    def tensors(
        self, record: PersonRecord, view: View, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """A person seen in a given way.

        Returns:
            ``image`` float32 [3, S, S], ``cells`` float32 [J, 3], ``visible`` float32 [J, 1],
            ``has_depth`` float32 [1].
        """
        skeleton, size = self.skeleton, self.config.input_size
        crop = person_crop(record, size, self.config.margin)
        matrix = matrix_of(crop, view, record.width)
        seen = viewed(record.person(skeleton), matrix, view, skeleton.flip)
        target, visible = cells(seen, skeleton.root, size, self.grid, DEPTH_HALF_RANGE_M)
        image = self._worse(cut(record.read(), record, crop, view, rng), rng)
        return {
            "image": normalised(image, self.config.pixel_range),
            "cells": torch.from_numpy(target.astype(np.float32)),
            "visible": torch.from_numpy(visible.astype(np.float32))[:, None],
            "has_depth": torch.tensor([float(seen.placed[skeleton.root])]),
        }

    def _worse(self, image: Image, rng: np.random.Generator) -> Image:
        """A crop as bad cameras see it, in the configured shares."""
        config = self.config
        if config.dark and rng.random() < config.dark:
            image = darkened(rng, image)
        if config.smeared and rng.random() < config.smeared:
            image = smeared(rng, image)
        return image

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """The official :func:`~smap_train.models.mobilehuman.coordinate_loss`; ``axes``, if any."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        found = network(image)
        labels = batch["cells"], batch["visible"], batch["has_depth"]
        losses = {"cells": coordinate_loss(found["coord"], *labels).mean()}
        if self.config.axes:
            cube = (-1, len(self.skeleton), self.grid, self.grid, self.grid)
            losses["axes"] = axis_loss(found["heatmap"].reshape(cube), *labels).mean()
        return losses

    def loss_weights(self) -> Mapping[str, float]:
        """Officially there is one."""
        return {"cells": 1.0, **({"axes": self.config.axes} if self.config.axes else {})}

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Mean distance of the joints about the root, mm, of held-out virtual people.

        As on a robot whose first stage is right about the boxes and the root's depth.
        """
        device = next(network.parameters()).device
        people, errors = self.held_out(limit), []
        while some := list(islice(people, _MEASURED_AT_ONCE)):
            size = self.config.input_size
            crops = [person_crop(record, size, self.config.margin) for record in some]
            images = [
                normalised(crop.apply(record.read())[..., ::-1], self.config.pixel_range)
                for record, crop in zip(some, crops, strict=True)
            ]
            found = network(torch.stack(images).to(device))["coord"].cpu().numpy()
            errors += [self._error(*one) for one in zip(some, crops, found, strict=True)]
        return {"mpjpe_mm": _MM * float(np.mean(np.concatenate(errors)))} if errors else {}

    def _error(self, record: PersonRecord, crop: Crop, found: np.ndarray) -> np.ndarray:
        """Distances of a person's labelled joints other than the root, metres."""
        person, root = record.person(self.skeleton), self.skeleton.root
        cube = Cube(self.grid, DEPTH_HALF_RANGE_M)
        pixels, depth = cube.decode(found, crop, float(person.points[root, 2]))
        fx, fy, cx, cy = record.camera
        rays = (pixels - (cx, cy)) / (fx, fy)
        points = np.column_stack([rays, np.ones(len(rays))]) * depth[:, None]
        wanted = person.placed & (np.arange(len(points)) != root)
        relative = points - points[root] - (person.points - person.points[root])
        return np.linalg.norm(relative, axis=1)[wanted]


def _pixel_range(weights: Path) -> int | None:
    """The largest pixel that weights saw; None where nothing says it, or they won't fit."""
    if is_checkpoint(weights):
        content = load_checkpoint(weights)
        if content["model"] != MobileHumanRecipe.model:
            return None
        return int(content["options"].get("pixel_range", 255))  # officially
    bundle = bundle_of(weights)
    if bundle is None or not isinstance(bundle.manifest, TopdownManifest):
        return None
    return bundle.manifest.input.pixel_range
