"""Recipe ``hap_pretraining``: HAP (Yuan et al., NeurIPS 2023), a masked autoencoder of people.

Parts of the body are hidden first; two views of a person, hidden differently, must find each
other. Its encoder starts ``crowdnet`` with ``backbone: hap``.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_ros.skeletons import COCO17
from smap_train.data.layouts.luperson import PersonCrop, open_luperson
from smap_train.data.layouts.persons import PersonRecord
from smap_train.data.layouts.virtual import open_virtual_people
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import BadRecordError, Mixture, Source
from smap_train.models import create
from smap_train.models.checkpoint import mismatches
from smap_train.models.hap import HapPretraining
from smap_train.models.hap.losses import pretraining_loss
from smap_train.models.hap.masks import mask_priorities
from smap_train.models.hap.network import IMAGE_SIZE, PATCH, resized_embedding
from smap_train.recipes.base import Recipe, beside, start_from, weights_of_others
from smap_train.targets.pixels import normalised

Image = NDArray[np.uint8]

HIDDEN_SHARE = 0.5
_MAE_GRID = (14, 14)  # patches of the published autoencoder's pictures
_POSITIONS = "pos_embed"
_DECODER = ("decoder", "mask_token")
_AREAS, _RATIOS, _TRIES = (0.8, 1.0), (0.375, 0.667), 10  # of random crops; width over height
_NOWHERE = -10_000.0  # pixels; of keypoints outside of the picture


class LuPerson(BaseModel):
    """LUPerson with the keypoints of HAP's authors: list of names, pictures, poses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Path
    images: Path
    poses: Path
    share: float = Field(0.5, gt=0, le=1)


class HapPretrainingConfig(RunConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    recipe: Literal["hap_pretraining"] = Field("hap_pretraining", description="this recipe")
    people: LuPerson | None = Field(None, description="LUPerson: names, images, poses, share")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    network: dict[str, Any] = Field({}, description="options of hap_pretraining; none: ViT-B/16")
    mae: Path | None = Field(None, description="published weights to start from: MAE's ViT-B")
    initial: Path | None = Field(None, description="weights to start from: hap_pretraining.pth")
    batch_size: int = Field(4096, gt=0, description="people a step, over all devices together")
    learning_rate: float = Field(2.4e-3, gt=0, description="at the peak; 1.5e-4 x batch_size / 256")
    weight_decay: float = Field(0.05, ge=0, description="on all but biases and norms")
    warmup: int = Field(0, ge=0, description="steps that warm up: 40 of 400 epochs")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")

    def rate(self, step: int) -> float:
        """Straight up over ``warmup`` steps, then a cosine to 0 at the last."""
        if step < self.warmup:
            return step / self.warmup
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class HapPretrainingRecipe(Recipe[HapPretrainingConfig]):
    """hap_pretraining with its losses."""

    config_type: ClassVar[type[RunConfig]] = HapPretrainingConfig
    summary = "HAP's pre-training: an autoencoder of people, parts hidden (Yuan et al. 2023)"
    model = "hap_pretraining"

    @classmethod
    def next_step(cls, config: HapPretrainingConfig, path: Path) -> str:
        """3DCrowdNet on this backbone, which is ViT-B there: others are for watching."""
        second = beside(path, "hap_pretraining", "crowdnet")
        if second is None or config.network:
            return "smap-train recipes crowdnet"
        weights, out = config.out / f"{cls.model}.pth", config.out.with_name(f"hap_{second.stem}")
        words = ["backbone=hap", "optimiser=sgd", f"backbone_weights={weights}", f"out={out}"]
        return shlex.join(["smap-train", "fit", str(second), *words])

    def __init__(self, config: HapPretrainingConfig) -> None:
        super().__init__(config)
        self.options = dict(config.network)
        height, width = config.network.get("image_size", IMAGE_SIZE)
        self.grid = (height // PATCH, width // PATCH)

    def network(self) -> HapPretraining:
        """Fresh weights, or those to start from."""
        network = create(self.model, **self.options)
        assert isinstance(network, HapPretraining)
        if self.config.mae is not None:
            take_published(network, self.config.mae)
        start_from(network, self.config.initial)
        return network

    def dataset(self) -> Mixture:
        """All crops, shuffled in each pass."""
        config, sources = self.config, []
        if config.people is not None:
            people = config.people
            crops = open_luperson(people.names, people.images, people.poses, people.share)
            sources.append(Source(str(people.names), crops, self.sample))
        if config.virtual:
            virtual = open_virtual_people(config.virtual)
            sources.append(Source("virtual people", virtual, self.virtual_sample))
        return self.mixture(sources)

    def sample(self, record: PersonCrop, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random crop of a picture of one person, as :meth:`tensors` has it."""
        return self.tensors(record.read(), record.keypoints.astype(np.float64), rng)

    def virtual_sample(self, record: PersonRecord, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random crop of a person's box, as :meth:`tensors` has it."""
        low = np.maximum(np.floor(record.box[:2]), 0).astype(int)
        high = np.minimum(
            np.ceil(record.box[:2] + record.box[2:]), (record.width, record.height)
        ).astype(int)
        image = record.read()[low[1] : high[1], low[0] : high[0]]
        if min(image.shape[:2]) < 2:
            raise BadRecordError(f"{record.place}: bbox is {record.box.tolist()}, it shows nobody")
        person = record.person(COCO17)
        keypoints = np.where(person.known[:, None], person.pixels - low, _NOWHERE)
        return self.tensors(image, keypoints, rng)

    def tensors(
        self, image: Image, keypoints: NDArray[np.float64], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Crop and two maskings of it.

        Returns:
            ``image`` float32 [3, H, W], ``first`` and ``second`` float32 [N], priorities.
        """
        rows, columns = self.grid
        seen, moved = random_crop(image, keypoints, (columns * PATCH, rows * PATCH), rng)
        masks = [mask_priorities(moved, self.grid, PATCH, HIDDEN_SHARE, rng) for _ in range(2)]
        return {
            "image": normalised(np.ascontiguousarray(seen[..., ::-1])),
            "first": torch.from_numpy(masks[0]), "second": torch.from_numpy(masks[1]),
        }  # fmt: skip

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """See :func:`smap_train.models.hap.losses.pretraining_loss`."""
        image = batch["image"]
        both = network(
            torch.cat([image, image]), torch.cat([batch["first"], batch["second"]]), HIDDEN_SHARE
        )
        first, second = (type(both)(*(part.chunk(2)[k] for part in both)) for k in range(2))
        return pretraining_loss(image, first, second)._asdict()

    def loss_weights(self) -> Mapping[str, float]:
        """The total is optimised; its terms are watched."""
        return {"total": 1.0, "reconstruction": 0.0, "alignment": 0.0}

    def parameter_groups(self, network: nn.Module) -> Iterable[Any]:
        """Biases, norms and other vectors without decay."""
        trained = [p for p in network.parameters() if p.requires_grad]
        plain = [p for p in trained if p.ndim <= 1]
        return [
            {"params": [p for p in trained if p.ndim > 1]},
            {"params": plain, "weight_decay": 0.0},
        ]

    def optimizer(self, groups: Iterable[Any]) -> torch.optim.Optimizer:
        """AdamW with MAE's momenta."""
        config = self.config
        return torch.optim.AdamW(
            groups, config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )

    def files(self) -> list[Path]:
        """The list of crops, and shards."""
        people = self.config.people
        return ([people.names] if people else []) + shard_files(self.config.virtual)


def take_published(network: HapPretraining, path: Path) -> None:
    """Give a network the encoder of a published autoencoder; its decoder is new, as officially.

    Raises:
        InputError: if the file lacks a part of such an encoder, or is of another size.
    """
    given = weights_of_others(path)
    wanted = {k: v for k, v in network.state_dict().items() if not k.startswith(_DECODER)}
    taken = {key: given[key] for key in wanted if key in given}
    if _POSITIONS in taken:
        try:
            taken[_POSITIONS] = resized_embedding(taken[_POSITIONS], _MAE_GRID, network.grid)
        except InputError as error:
            raise InputError(f"can't start from {path}: {error}") from error
    if problems := mismatches(taken, wanted, limit=5):
        raise InputError(
            f"{path} doesn't fit this network's encoder:\n{problems}\nset mae to MAE's ViT-B as "
            "pre-trained, mae_pretrain_vit_base.pth (fine-tuned ones lack its last norm), or leave "
            "it out; HAP's own weights go into initial, once converted"
        )
    network.load_state_dict(taken, strict=False)


def random_crop(
    image: Image, keypoints: NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, NDArray[np.float64]]:
    """A random part of a picture, of most of its area, resized and perhaps mirrored.

    In the mirror left and right keep their names, as officially: they are hidden all the same.

    Args:
        image: uint8 [H, W, 3].
        keypoints: float64 [17, 2], pixels.
        size: width and height of the crop.
        rng: decides.

    Returns:
        uint8 [height, width, 3]; float64 [17, 2], pixels of the crop, far outside where a
        keypoint isn't in it.
    """
    height, width = image.shape[:2]
    inside = ((keypoints >= 0) & (keypoints < (width, height))).all(axis=1)
    left, top, wide, tall = _part(width, height, rng)
    part = image[top : top + tall, left : left + wide]
    seen = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
    moved = (keypoints - (left, top)) * (size[0] / wide, size[1] / tall)
    if rng.random() < 0.5:
        seen = seen[:, ::-1]
        moved[:, 0] = size[0] - 1 - moved[:, 0]
    inside &= ((moved >= 0) & (moved < size)).all(axis=1)
    return np.asarray(seen, np.uint8), np.where(inside[:, None], moved, _NOWHERE)


def _part(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a part; the widest or tallest in the middle if none fits."""
    for _ in range(_TRIES):
        area = rng.uniform(*_AREAS) * width * height
        ratio = math.exp(rng.uniform(*np.log(_RATIOS)))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            left = int(rng.integers(0, width - wide + 1))
            return left, int(rng.integers(0, height - tall + 1)), wide, tall
    ratio = min(max(width / height, _RATIOS[0]), _RATIOS[1])
    wide = max(min(width, round(height * ratio)), 1)
    tall = max(min(height, round(wide / ratio)), 1)
    return (width - wide) // 2, (height - tall) // 2, wide, tall
