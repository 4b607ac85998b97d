"""Recipe ``smap``: the network of Zhen et al., ECCV 2020, as its official code trains it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import CAMERA_Z, COCO, DEPTH, SEEN, BodiesRecord, X, Y
from smap_train.data.layouts.smap_json import open_smap_json
from smap_train.data.layouts.virtual import open_virtual
from smap_train.data.shards import shard_files
from smap_train.data.whole_image import View, WholeImage, view_of
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import BadRecordError, Mixture, Source, in_share
from smap_train.losses.smap import smap_loss
from smap_train.models import create
from smap_train.models.smap import KEYPOINTS, LIMBS, MAPS_2D, MEAN_BGR, STD_BGR, STRIDE, Smap
from smap_train.recipes.base import Recipe, start_from
from smap_train.targets.smap import label_maps, root_depth_rows

_FIRST_RATE = 0.1  # factor on the rate at the first step
# Of 57 channels, what isn't labelled in COCO: the head top, so the limb that ends there, and
# all depths. Heatmaps come first, then x and y of each limb, then the limbs' depths.
_HEAD_TOP = MPI15.index("head_top")
_HEAD_LIMB = next(k for k, limb in enumerate(MPI15.limbs) if _HEAD_TOP in limb)
_COCO_ZEROS = [
    _HEAD_TOP, KEYPOINTS + 2 * _HEAD_LIMB, KEYPOINTS + 2 * _HEAD_LIMB + 1,
    *range(MAPS_2D, MAPS_2D + LIMBS),
]  # fmt: skip


class AnnotatedPictures(BaseModel):
    """A data set in SMAP's unified JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotations: Path
    images: Path


class SmapConfig(RunConfig):
    """Everything that determines a run. The defaults are the official ones on 8 GPUs."""

    recipe: Literal["smap"] = Field("smap", description="this recipe")
    data: list[AnnotatedPictures] = Field(
        [], description="annotations (SMAP's unified JSON) and images (folder) of each data set"
    )
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    virtual_share: float | None = Field(
        None, gt=0, lt=1, description="of the samples; none: by the number of records"
    )
    width: int = Field(832, multiple_of=32, gt=0, description="of the input, pixels")
    height: int = Field(512, multiple_of=32, gt=0, description="of the input, pixels")
    network: dict[str, Any] = Field(
        {}, description="options of smap: stages, width, blocks, encoder; none: the official ones"
    )
    initial: Path | None = Field(None, description="weights to start from: smap.pth")
    held_out: list[Path] = Field([], description="shards that the best weights are chosen by")
    learning_rate: float = Field(1.6e-3, gt=0, description="at the peak; 2e-4 a GPU of 2 pictures")
    weight_decay: float = Field(8e-6, ge=0, description="L2, on all parameters")
    warmup: int = Field(2400, ge=0, description="steps from a tenth of the rate to all of it")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")

    def rate(self, step: int) -> float:
        """From a tenth to all of it over ``warmup`` steps, then straight to 0 at the last."""
        if step < self.warmup:
            return _FIRST_RATE + (1 - _FIRST_RATE) * step / self.warmup
        return max((self.steps - step) / max(self.steps - self.warmup, 1), 0.0)


class SmapRecipe(Recipe[SmapConfig]):
    """smap with its loss."""

    config_type: ClassVar[type[RunConfig]] = SmapConfig
    optimiser = torch.optim.Adam  # the decay in its gradients
    summary = "SMAP: all people of an image in centimetres, bottom-up (Zhen et al. 2020)"
    model = "smap"
    bundle_kind = "smap"

    def __init__(self, config: SmapConfig) -> None:
        super().__init__(config)
        self.options = dict(config.network)
        self.input_size = (config.width, config.height)

    def network(self) -> Smap:
        """Fresh weights, or those to start from."""
        network = create(self.model, **self.options)
        assert isinstance(network, Smap)
        start_from(network, self.config.initial)
        return network

    def dataset(self) -> Mixture:
        """All records as one shuffled list, or virtual ones in their share."""
        config = self.config
        share = config.virtual_share
        annotated = [
            Source(
                str(data.annotations), open_smap_json(data.annotations, data.images), self.sample
            )
            for data in config.data
        ]
        sources = in_share(annotated, None if share is None else 1 - share)
        if config.virtual:
            scenes = open_virtual(config.virtual)
            sources.append(Source("virtual people", scenes, self.sample, share))
        return self.mixture(sources)

    def sample(self, record: BodiesRecord, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random view of a picture, as :func:`tensors` has it."""
        coco = record.dataset == COCO
        view = View.draw(rng, scaled=coco)
        image = record.read()
        try:
            seen = view_of(image, record.bodies, view, (self.config.width, self.config.height))
        except cv2.error as error:
            raise BadRecordError(
                f"{record.place}: img_width, img_height: {record.width}x{record.height} can't be "
                "brought to the network's size"
            ) from error
        return tensors(seen, coco=coco, placed=_placed(record.bodies, mirrored=view.flip))

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """See :func:`smap_train.losses.smap.smap_loss`."""
        assert isinstance(network, Smap)
        stages = network.forward_stages(batch["image"])
        return smap_loss(stages, batch["labels"], batch["valid"], batch["roots"])

    def loss_weights(self) -> Mapping[str, float]:
        """The total is optimised; its terms are watched."""
        return {"total": 1.0, "maps_2d": 0.0, "bone": 0.0, "root": 0.0}

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """See :func:`smap_train.export.measured.held_out_measures`."""
        from smap_train.export.measured import held_out_measures

        return held_out_measures(self, network, self.config.held_out, limit)

    def files(self) -> list[Path]:
        """Annotations and shards."""
        shards = shard_files([*self.config.virtual, *self.config.held_out])
        return [data.annotations for data in self.config.data] + shards


def tensors(
    seen: WholeImage, *, coco: bool, placed: NDArray[np.bool_] | None = None
) -> dict[str, Tensor]:
    """A sample for the network and its loss.

    Args:
        seen: what the network sees.
        coco: no head top and no depths are labelled.
        placed: bool [N, 15], whose joints have a place, be it outside of the picture; all if None.

    Returns:
        ``image`` float32 [3, H, W], ``labels`` float32 [5, 57, H/4, W/4], ``valid`` float32 [57],
        ``roots`` float32 [20, 3].
    """
    people = seen.people()
    grid = (seen.image.shape[0] // STRIDE, seen.image.shape[1] // STRIDE)
    roots = root_depth_rows(people, seen.focal_px(), grid)
    if coco:
        valid = torch.ones(MAPS_2D + LIMBS)
        valid[_COCO_ZEROS] = 0
    else:
        placed = np.ones((len(people), KEYPOINTS), bool) if placed is None else placed
        valid = torch.from_numpy(_valid(seen, placed).astype(np.float32))
    return {
        "image": to_tensor(seen.image),
        "labels": torch.from_numpy(label_maps(people, grid)),
        "valid": valid,
        "roots": torch.from_numpy(roots),
    }


def _placed(bodies: NDArray[np.float64], *, mirrored: bool) -> NDArray[np.bool_]:
    """Which joints of a record have a place, visible or not, bool [N, 15]."""
    placed: NDArray[np.bool_] = bodies[..., [X, Y, SEEN, CAMERA_Z]].any(axis=-1)
    return placed[:, MPI15.flip] if mirrored else placed


def _valid(seen: WholeImage, placed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the 57 channels teach what they hold, of pictures with depths, bool [57].

    The map of a joint, or limb, that nobody there has a place of says nothing by being empty:
    Panoptic and 3DPW label no head tops. Nor do the depths of a limb that is drawn for somebody
    whose depths aren't known, 0. Of a picture without people every map is empty, and true.
    """
    first, second = np.array(MPI15.limbs).T
    anybody = len(placed) > 0
    limbs = (placed[:, first] & placed[:, second]).any(axis=0) | (not anybody)
    drawn = seen.bodies[..., SEEN] > 0
    flat = drawn & (seen.bodies[..., DEPTH] == 0)
    unknown = drawn[:, first] & drawn[:, second] & (flat[:, first] | flat[:, second])
    joints = placed.any(axis=0) | (not anybody)
    return np.concatenate([joints, limbs.repeat(2), limbs & ~unknown.any(axis=0)])


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] bgr to the network's float32 [3, H, W]."""
    scaled = (image.astype(np.float32) / 255 - np.float32(MEAN_BGR)) / np.float32(STD_BGR)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))
