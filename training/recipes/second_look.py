"""Recipe ``second_look``: BlazePose's landmark network taught on from its published weights.

It knows people of real photos, and tells depths of them as a fitted body model had them. Here it
learns what the first look gives it to see (crops cut by joints that are a little wrong), exact
depths of virtual people, labelled joints of photos, and squares in which nobody is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import BodiesRecord
from smap_train.data.layouts.virtual import open_virtual
from smap_train.data.looked_at import (
    Crop,
    PhotoSubjects,
    Subject,
    VirtualSubjects,
    any_crop,
    nobodys_crop,
    person_crop,
)
from smap_train.data.photo_people import PhotoData, open_photos
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import SKIPPED, Mixture, Source
from smap_train.export.second_look import opened, weights_of
from smap_train.losses.shared import mean_count
from smap_train.models.landmarks import MARGIN, SIZE, Landmarks
from smap_train.models.layers.relative import RelativeAdamW
from smap_train.recipes.base import Recipe, bundle_name

_MM = 1000.0
_PIXELS, _METRES = 1 / 25.6, 10.0  # a tenth of a crop, and of a metre, count as 1
_TORSO = 0.2  # of the length from neck to pelvis: joints nearer than that are right


Part = Literal["virtual", "sports", "street", "nobody", "beside"]


class SecondLookConfig(RunConfig):
    """Everything that determines a run."""

    recipe: Literal["second_look"] = Field("second_look", description="this recipe")
    initial: Path = Field(
        description="weights to start from: mediapipe's wheel, NAME.pth, or a bundle with a second "
        "look (smap_lite; smap_lite_free's are the published ones)"
    )
    virtual: list[Path] = Field(description="folders of shards from `smap-train synth`")
    empty: list[Path] = Field([], description="folders of shards whose furniture is nobody")
    sports: PhotoData | None = Field(None, description="Leeds Sports Pose Extended")
    street: PhotoData | None = Field(None, description="Clothing Co-Parsing photos")
    holdout: int = Field(
        500, ge=0, description="last sports photos kept for testing; a fifth of it of the others"
    )
    teacher: Path | None = Field(
        None,
        description="as `initial`: whose word on presence, and on which joints can be seen, counts "
        "on photos",
    )
    shares: dict[Part, float] = Field(
        {"virtual": 0.45, "sports": 0.28, "street": 0.08, "nobody": 0.09, "beside": 0.1},
        description="of the samples, of the sources that there are; beside: squares of photos, for "
        "the teacher",
    )
    freeze_blocks: int = Field(
        0, ge=0, le=14, description="first blocks whose weights are held, and the stem's; 0: none"
    )
    pose: float = Field(1.0, ge=0, description="weight of poses in metres")
    photo_pose: float = Field(0.3, ge=0, description="the same of photos, which a model told")
    scores: float = Field(0.2, ge=0, description="weight of whether joints can be seen")
    presence: float = Field(0.2, ge=0, description="weight of whether somebody is there")
    held_out: list[Path] = Field([], description="shards that the best weights are chosen by")
    learning_rate: float = Field(
        3e-4, gt=0, description="at the peak, over the root mean square of a channel's weights"
    )


class SecondLookRecipe(Recipe[SecondLookConfig]):
    """landmarks with their losses."""

    config_type: ClassVar[type[RunConfig]] = SecondLookConfig
    summary = "the second look at each person, from MediaPipe's landmark network"
    model = "landmarks"

    @classmethod
    def next_step(cls, config: SecondLookConfig, path: Path) -> str:
        """It goes into a bundle of its own, made of the shipped one."""
        weights, bundle = config.out / f"{cls.model}.pth", f"models/{bundle_name(config)}"
        return shlex.join(
            ["smap-train", "second-look", str(weights), bundle, "--like", "smap_lite"]
        )

    def __init__(self, config: SecondLookConfig) -> None:
        super().__init__(config)
        self._teacher: Landmarks | None = None

    def network(self) -> Landmarks:
        """Published weights, or those to start from."""
        network = opened(self.config.initial)
        network.freeze(self.config.freeze_blocks)
        return network.train().to(memory_format=torch.channels_last)

    def optimizer(self, groups: Iterable[Any]) -> torch.optim.Optimizer:
        """AdamW, whose steps are shares of the weights' sizes."""
        return RelativeAdamW(groups, self.config.learning_rate, self.config.weight_decay)

    def dataset(self) -> Mixture:
        """People of scenes and photos, and squares without anybody, in their shares."""
        config = self.config
        _ = self._held_out  # or it is refused before the first step
        sports, street = open_photos(
            config.sports, config.street, config.holdout, config.on_bad, config.out / SKIPPED
        )
        found: dict[Part, tuple[Any, Any]] = {
            "virtual": (self._virtual(config.virtual), self.sample)
        }
        for name, people in (("sports", sports), ("street", street)):
            if people:
                found[name] = PhotoSubjects(people), self.sample  # type: ignore[index]
        if config.empty:
            found["nobody"] = open_virtual(config.empty), self.nobody
        if config.teacher is not None and (sports or street):
            found["beside"] = PhotoSubjects([*street, *sports]), self.beside
        missing = sorted(set(found) - set(config.shares))
        if missing:
            raise InputError(f"shares lacks {', '.join(missing)}; state one for each source")
        sources = [Source(name, *data, config.shares[name]) for name, data in found.items()]
        return self.mixture(sources)

    @cached_property
    def _held_out(self) -> VirtualSubjects | None:
        folders = self.config.held_out
        return self._virtual(folders) if folders else None

    def _virtual(self, folders: list[Path]) -> VirtualSubjects:
        config = self.config
        subjects = VirtualSubjects(open_virtual(folders), config.on_bad, config.out / SKIPPED)
        if not len(subjects):
            named = ", ".join(map(str, folders))
            raise InputError(f"{named}: nobody there can be seen well enough; render other scenes")
        return subjects

    def sample(self, subject: Subject, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random crop of somebody, as :func:`tensors` has it."""
        crop = person_crop(rng, subject, SIZE, MARGIN)
        if subject.camera is None:
            return tensors(crop, 1.0, self.config.photo_pose, real=True)
        return tensors(crop, 1.0, 1.0)

    def nobody(self, scene: BodiesRecord, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random square of a scene without people."""
        return tensors(nobodys_crop(rng, scene, SIZE), 0.0, 0.0)

    def beside(self, subject: Subject, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random square of a photo, of which the teacher says what is there."""
        return tensors(any_crop(rng, subject, SIZE), 0.0, 0.0, real=True)

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """L1 of joints and poses, cross-entropy of what is seen and of presence."""
        assert isinstance(network, Landmarks)
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        pixels, scores, pose, presence = network.answer(image)
        pose = pose - pose[:, MPI15.root, None]
        off = (pixels - batch["pixels"]).abs().mean(dim=2) * _PIXELS
        apart = (pose - batch["pose"]).abs().mean(dim=2) * _METRES
        seen, known, somebody = self._taught(image, batch)
        unsure = F.binary_cross_entropy(
            scores[..., 0].clamp(1e-4, 1 - 1e-4), seen, reduction="none"
        )
        there = F.binary_cross_entropy_with_logits(presence[:, 0], somebody)
        return {
            "pixels": _mean(off, batch["pixels_weight"]),
            "pose": _mean(apart, batch["pose_weight"]),
            "scores": _mean(unsure, known),
            "presence": there,
        }

    def _taught(self, image: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What can be seen, its weights, and presence: labels, and on photos the teacher's word.

        Labels of photos say what is there, not what can be seen; and one of a table's foot would
        have to be made by hand.
        """
        seen, known, somebody = batch["seen"], batch["seen_weight"], batch["presence"]
        real = batch["real"] > 0
        if self.config.teacher is None or not bool(real.any()):
            return seen, known, somebody
        if self._teacher is None:
            self._teacher = opened(self.config.teacher).requires_grad_(False)
            self._teacher.to(image.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            told = self._teacher(image[real])
        seen, known, somebody = seen.clone(), known.clone(), somebody.clone()
        seen[real], somebody[real] = told["joints"][..., 2], told["presence"][:, 0]
        known[real] = told["presence"]  # of nobody's joints it says nothing
        return seen, known, somebody

    def loss_weights(self) -> Mapping[str, float]:
        """As configured."""
        config = self.config
        weights = {"pose": config.pose, "scores": config.scores, "presence": config.presence}
        return {"pixels": 1.0, **weights}

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Held-out virtual people, cut as a first look might.

        Mean distance of their joints about the pelvis, and the share of those that can be seen
        which is a fifth of the torso off in the picture, at most.
        """
        subjects = self._held_out
        if subjects is None:
            return {}
        device = next(network.parameters()).device
        apart, right = [], []
        for k in np.linspace(0, len(subjects) - 1, min(limit, len(subjects))).round():
            crop = person_crop(np.random.default_rng(int(k)), subjects[int(k)], SIZE, MARGIN)
            answer = network(_picture(crop)[None].to(device))
            pose = answer["pose"][0].double().cpu().numpy()
            apart.append(np.linalg.norm(pose - pose[MPI15.root] - crop.pose, axis=1))
            pixels = answer["joints"][0, :, :2].double().cpu().numpy()
            torso = np.linalg.norm(crop.pixels[0] - crop.pixels[MPI15.root])
            off = np.linalg.norm(pixels - crop.pixels, axis=1)
            right.append((off <= _TORSO * torso)[crop.seen > 0])
        return {
            "mpjpe_mm": _MM * float(np.nanmean(np.concatenate(apart))),
            "pck_percent": 100 * float(np.concatenate(right).mean()),
        }

    def files(self) -> list[Path]:
        """Archives of photos with their labels, shards, and the weights to start from."""
        config = self.config
        photos = [data for data in (config.sports, config.street) if data]
        archives = [path for data in photos for path in (data.archive, data.pseudo)]
        shards = shard_files([*config.virtual, *config.empty, *config.held_out])
        starts = [weights_of(path) for path in (config.initial, config.teacher) if path]
        return [*archives, *shards, *starts]


def tensors(
    crop: Crop, presence: float, pose_weight: float, *, real: bool = False
) -> dict[str, Tensor]:
    """A crop as the network learns from it.

    Args:
        crop: as cut.
        presence: 1 if somebody is there.
        pose_weight: of the pose in metres, where it is known.
        real: it is a photo's.

    Returns:
        ``image`` float32 [3, 256, 256], 0 to 1; ``pixels`` [15, 2], ``pose`` [15, 3], ``seen``
        [15], each with a weight [15] of which 0 says that nobody knows; ``presence`` []; ``real``
        [], 1 or 0.
    """
    known = np.isfinite(crop.pose).all(axis=1)
    labelled = {
        "pixels": crop.pixels, "pixels_weight": crop.weights(),
        "pose": crop.pose, "pose_weight": pose_weight * known,
        "seen": crop.seen, "seen_weight": np.isfinite(crop.seen),
        "presence": np.array(presence), "real": np.array(real),
    }  # fmt: skip
    return {
        "image": _picture(crop),
        **{
            k: torch.from_numpy(np.array(np.nan_to_num(v), np.float32)) for k, v in labelled.items()
        },
    }


def _picture(crop: Crop) -> Tensor:
    """As the network takes it, float32 [3, 256, 256]."""
    return torch.from_numpy(crop.image.transpose(2, 0, 1).astype(np.float32) / 255)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted, over all devices; 0 where nothing counts."""
    return (values * weights).sum() / mean_count(weights.sum(), values)
