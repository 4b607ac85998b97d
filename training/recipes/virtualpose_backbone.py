"""Recipe ``virtualpose_backbone``: VirtualPose's stage 1 (Su et al., ECCV 2022), on whole pictures.

Joint heatmaps, and the sides of people's boxes at their roots.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from smap_ros.skeletons import Skeleton
from smap_train.data.layouts.people import PeopleData
from smap_train.data.layouts.persons import Person, PersonRecord, PictureRecords
from smap_train.data.layouts.virtual import open_virtual_people
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import BadRecordError, Mixture, Source, in_share
from smap_train.models import create
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.config import JOINT_SETS, ROOT, STRIDE
from smap_train.models.virtualpose.losses import (
    WEIGHT_BOX,
    WEIGHT_HEATMAP,
    RootBoxes,
    backbone_losses,
)
from smap_train.recipes.base import Recipe, beside, copy_fitting, start_from
from smap_train.targets.agr import box_sides, heatmaps
from smap_train.targets.pixels import normalised

MOST_PEOPLE = 20  # of a picture
_BOX_SCALE = 1.25  # of labelled boxes, about their middle

Float64 = NDArray[np.float64]


class VirtualPoseBackboneConfig(RunConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    recipe: Literal["virtualpose_backbone"] = Field(
        "virtualpose_backbone", description="this recipe"
    )
    data_3d: list[PeopleData] = Field([], description="data sets with depths: muco, panoptic")
    data_2d: list[PeopleData] = Field([], description="data sets without: coco")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    share_3d: float = Field(0.5, gt=0, lt=1, description="of the pictures, where there are both")
    joints: Literal[15, 17] = Field(17, description="17, or 15 in the Panoptic configuration")
    width: int = Field(960, multiple_of=32, gt=0, description="of the input, pixels")
    height: int = Field(512, multiple_of=32, gt=0, description="of the input, pixels")
    network: dict[str, Any] = Field(
        {}, description="depth, stem_width, head_width of the ResNet; none: the official ResNet-152"
    )
    backbone_weights: Path | None = Field(
        None, description="Simple Baselines' pose ResNet-152 to start from"
    )
    initial: Path | None = Field(
        None, description="weights to start from: virtualpose_backbone.pth"
    )
    batch_size: int = Field(24, gt=0, description="pictures a step, over all devices together")
    learning_rate: float = Field(1e-4, gt=0, description="all the time")
    weight_decay: float = Field(0.0, ge=0, description="L2, on all parameters")
    warmup: int = Field(0, ge=0, description="steps that warm up")
    cooldown: float = Field(0.0, ge=0, le=1, description="share of the steps that cool down")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")

    @model_validator(mode="after")
    def _joints_once(self) -> VirtualPoseBackboneConfig:
        if "joints" in self.network:
            raise ValueError("network.joints: set joints instead")
        return self


class VirtualPoseBackboneRecipe(Recipe[VirtualPoseBackboneConfig]):
    """virtualpose_backbone with its losses."""

    config_type: ClassVar[type[RunConfig]] = VirtualPoseBackboneConfig
    optimiser = torch.optim.Adam  # its rate constant: the official schedule is never called
    summary = "VirtualPose's network that sees the picture (Su et al. 2022, stage 1)"
    model = "virtualpose_backbone"

    @classmethod
    def next_step(cls, config: VirtualPoseBackboneConfig, path: Path) -> str:
        """Stage 2, which a bundle needs as well."""
        second = beside(path, "virtualpose_backbone", "virtualpose_synthetic")
        if second is None:
            return "smap-train recipes virtualpose_synthetic"
        weights = config.out / f"{cls.model}.pth"
        return shlex.join(["smap-train", "fit", str(second), f"backbone={weights}"])

    def __init__(self, config: VirtualPoseBackboneConfig) -> None:
        super().__init__(config)
        self.options = {**config.network, "joints": config.joints}
        self.skeleton = JOINT_SETS[config.joints]

    def network(self) -> PoseDetResNet:
        """Fresh weights, or those to start from."""
        network = create(self.model, **self.options)
        assert isinstance(network, PoseDetResNet)
        if self.config.backbone_weights is not None:
            copy_fitting(network, self.config.backbone_weights)
        network.depth.requires_grad_(False)  # of no use: depths are REN's
        start_from(network, self.config.initial)
        return network

    def dataset(self) -> Mixture:
        """Pictures of 3D sets, virtual ones among them, and of 2D sets, in their shares."""
        config = self.config
        deep = [Source(d.name, d.open_pictures(), self.sample) for d in config.data_3d]
        if config.virtual:
            scenes = PictureRecords(open_virtual_people(config.virtual))
            deep.append(Source("virtual people", scenes, self.sample))
        flat = [Source(d.name, d.open_pictures(), self.sample) for d in config.data_2d]
        share = config.share_3d if deep and flat else None
        return self.mixture(
            in_share(deep, share) + in_share(flat, None if share is None else 1 - share)
        )

    def sample(self, people: list[PersonRecord], rng: np.random.Generator) -> dict[str, Tensor]:
        """A picture, every second time in the mirror, as :meth:`tensors` has it."""
        return self.tensors(people, mirrored=bool(rng.random() < 0.5))

    def tensors(self, people: list[PersonRecord], *, mirrored: bool) -> dict[str, Tensor]:
        """A picture with its people.

        Returns:
            ``image`` float32 [3, H, W]; ``heatmaps`` float32 [J, H/4, W/4]; ``labelled`` float32
            [J]; ``inds`` int64 [20], ``sides`` float32 [20, 4], ``in_view`` float32 [20].

        Raises:
            BadRecordError: if there are too many people, or the picture can't be read.
        """
        if len(people) > MOST_PEOPLE:
            raise BadRecordError(
                f"{people[0].place} and others: {len(people)} people in a picture; expected at "
                f"most {MOST_PEOPLE}"
            )
        size = (self.config.width, self.config.height)
        matrix = whole_picture((people[0].width, people[0].height), size)
        image = cv2.warpAffine(people[0].read(), matrix, size, flags=cv2.INTER_LINEAR)
        seen = [seen_person(record, matrix, self.skeleton) for record in people]
        if mirrored:
            image = image[:, ::-1]
            seen = [self._mirrored(*one) for one in seen]
        cells, labelled, boxes = (np.array(part) for part in zip(*seen, strict=True))
        cells, boxes = cells / STRIDE, boxes / STRIDE
        maps = (size[0] // STRIDE, size[1] // STRIDE)
        visible = labelled & ((cells >= 0) & (cells < maps)).all(axis=-1)
        roots = cells[:, ROOT]
        sides = np.concatenate([roots - boxes[:, :2], boxes[:, 2:] - roots], axis=1)
        for k, record in enumerate(people):
            if record.has_depth and labelled[k].any():  # outside of the picture, too
                sides[k] = box_sides(cells[k : k + 1], maps, labelled[k : k + 1])[0]
        column, row = np.where(visible[:, ROOT, None], roots, 0).astype(np.int64).T
        return {
            "image": normalised(np.ascontiguousarray(image[..., ::-1])),
            "heatmaps": torch.from_numpy(heatmaps(cells, maps, visible)),
            "labelled": torch.from_numpy(visible.any(axis=0).astype(np.float32)),
            "inds": _padded(row * maps[0] + column),
            "sides": _padded(sides.astype(np.float32)),
            "in_view": _padded(visible[:, ROOT].astype(np.float32)),
        }

    def _mirrored(
        self, points: Float64, visible: NDArray[np.bool_], box: Float64
    ) -> tuple[Float64, NDArray[np.bool_], Float64]:
        """A person in the mirror: points [J, 2], flags [J], corners of the box [4]."""
        last, flip = self.config.width - 1, self.skeleton.flip
        points = points[flip] * (-1, 1) + (last, 0)
        return points, visible[flip], np.array([last - box[2], box[1], last - box[0], box[3]])

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """See :func:`smap_train.models.virtualpose.losses.backbone_losses`."""
        roots = RootBoxes(batch["inds"], batch["sides"], batch["in_view"])
        return backbone_losses(network(batch["image"]), batch["heatmaps"], batch["labelled"], roots)

    def loss_weights(self) -> Mapping[str, float]:
        """The official ones."""
        return {"loss_2d": WEIGHT_HEATMAP, "loss_bbox": WEIGHT_BOX}

    def files(self) -> list[Path]:
        """Annotations and shards."""
        config = self.config
        annotations = [path for data in config.data_3d + config.data_2d for path in data.files()]
        return annotations + shard_files(config.virtual)


def whole_picture(size: tuple[int, int], to: tuple[int, int]) -> Float64:
    """The affine [2, 3] that brings a picture, whole and in the middle, to another size."""
    zoom = min(to[0] / size[0], to[1] / size[1])
    offset = (np.array(to) - zoom * np.array(size)) / 2
    return np.column_stack([zoom * np.eye(2), offset])


def seen_person(
    record: PersonRecord, matrix: Float64, skeleton: Skeleton
) -> tuple[Float64, NDArray[np.bool_], Float64]:
    """A person in pixels of the input: joints [J, 2], whether labelled [J], corners [4]."""
    person: Person = record.person(skeleton)
    points = person.pixels @ matrix[:, :2].T + matrix[:, 2]
    low = np.clip(record.box[:2], 0, (record.width, record.height))
    high = np.clip(record.box[:2] + record.box[2:], 0, (record.width, record.height))
    middle, half = (low + high) / 2, _BOX_SCALE * (high - low) / 2
    corners = np.array([middle - half, middle + half]) @ matrix[:, :2].T + matrix[:, 2]
    return points, person.known, corners.ravel()


def _padded(values: NDArray[Any]) -> Tensor:
    """Values of a picture's people, with zeros for those that there aren't."""
    out = np.zeros((MOST_PEOPLE, *values.shape[1:]), values.dtype)
    out[: len(values)] = values
    return torch.from_numpy(out)
