"""Recipe ``maed``: MAED (Wan et al., ICCV 2021), stage 1 on pictures, stage 2 on clips as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import default_collate

from smap_ros.errors import InputError
from smap_ros.evaluation.common.metrics import procrustes
from smap_ros.skeletons import SMPL24, SPIN49
from smap_train.data import clip_crop
from smap_train.data.clip_crop import ClipView, matrix_of
from smap_train.data.layouts.clips import ClipData
from smap_train.data.layouts.tracks import (
    Chunks,
    Frames,
    TrackedPerson,
    clip,
    open_virtual_frames,
)
from smap_train.data.shards import shard_files
from smap_train.engine.config import Drops, RunConfig
from smap_train.engine.sampling import Mixture, Source, in_share
from smap_train.losses.maed import WEIGHTS, maed_losses
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, mismatches
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.maed import Maed
from smap_train.models.maed.attention import Mode
from smap_train.models.maed.body import EXTRA_ROWS
from smap_train.recipes.base import Recipe, copy_fitting, start_from
from smap_train.targets.pixels import normalised

_MM = 1000.0
_DRAWN = ("decoder.",)  # of stage 1's weights, what stage 2 begins anew
_TEMPORAL = (".temp_embed", ".ts_attn.")  # of the encoder, what only some modes have

Clip = Sequence[TrackedPerson]


class MaedConfig(RunConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    recipe: Literal["maed"] = Field("maed", description="this recipe")
    pictures: list[ClipData] = Field([], description="data sets of pictures")
    clips_3d: list[ClipData] = Field([], description="videos with depths (stage 2)")
    clips_2d: list[ClipData] = Field([], description="videos without (stage 2)")
    virtual: list[Path] = Field([], description="shards of `smap-train synth`, as pictures")
    virtual_films: list[Path] = Field([], description="shards of sequences, as clips with depths")
    held_out: list[Path] = Field([], description="shards that the best weights are chosen by")
    shares: tuple[float, float, float] = Field(
        (7, 4, 3), description="of samples: pictures, clips with and without depths"
    )
    frames: int = Field(16, gt=0, le=16, description="of a clip")
    every: int = Field(8, gt=0, description="frames of a video from one of a clip to the next")
    mode: Mode = Field("vanilla", description="of attention: vanilla in stage 1, then parallel")
    decoder: Literal["ktd", "iterative"] = Field("ktd", description="of the network")
    network: dict[str, Any] = Field({}, description="more options of maed; none: the official ones")
    colour: bool = Field(False, description="change the colours of clips with depths (stage 2)")
    erase: bool = Field(False, description="erase parts of frames (stage 2)")
    smpl: Path | None = Field(
        None, description="folder of your SMPL files; none: a stand-in that is no body"
    )
    vit: Path | None = Field(None, description="ImageNet weights of the encoder to start from")
    encoder: Path | None = Field(None, description="maed.pth of stage 1, whose encoder is taken")
    initial: Path | None = Field(None, description="weights to start from: maed.pth")
    batch_size: int = Field(1024, gt=0, description="pictures and clips a step, over all devices")
    learning_rate: float = Field(1e-4, gt=0, description="at the start")
    weight_decay: float = Field(1e-5, ge=0, description="L2, on all parameters")
    warmup: int = Field(0, ge=0, description="steps that warm up")
    cooldown: float = Field(0.0, ge=0, le=1, description="share of the steps that cool down")
    drops: Drops = Field(
        [0.6, 0.9], description="shares of the steps at which the rate drops: epochs of 100"
    )
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")


class MaedRecipe(Recipe[MaedConfig]):
    """maed with its losses."""

    config_type: ClassVar[type[RunConfig]] = MaedConfig
    optimiser = torch.optim.Adam  # as officially
    summary = "MAED: a person's body over time, from clips of crops (Wan et al. 2021)"
    model = "maed"
    bundle_kind = "video"

    @classmethod
    def export_options(cls, config: MaedConfig) -> dict[str, Any]:
        """The body and the number of images that it was trained with."""
        mode = config.network.get("mode", config.mode)
        settings = {"window": 1 if mode == "vanilla" else config.frames}
        return {"smpl": config.smpl, "stand_in": config.smpl is None, "settings": settings}

    def __init__(self, config: MaedConfig) -> None:
        super().__init__(config)
        self.options = {"mode": config.mode, "decoder": config.decoder, **config.network}

    def network(self) -> Maed:
        """Fresh weights, or those to start from, and the body."""
        config = self.config
        network = create(self.model, **self.options)
        assert isinstance(network, Maed)
        if config.vit is not None:
            copy_fitting(network.encoder, config.vit)
        if config.encoder is not None:
            take_encoder(network, config.encoder)
        start_from(network, config.initial)
        self._complete(network)
        return network

    def _complete(self, network: Maed) -> None:
        """Give a network the named body; else a stand-in, unless its weights brought one.

        After those: they hold a body, too, which may be another or an unset one.
        """
        body = network.decoder.smpl
        if self.config.smpl is not None:
            network.load_body(self.config.smpl)
        elif not all(bool(value.isfinite().all()) for value in body.state_dict().values()):
            body.set_body(synthetic_body())
            body.set_joint_regressors(synthetic_regressor("J_regressor_extra", EXTRA_ROWS))

    def dataset(self) -> Mixture:
        """Pictures, and clips with and without depths, in their shares."""
        config = self.config
        pictures: list[Source[Any]] = [
            Source(data.name, data.open(), self.picture) for data in config.pictures
        ]
        if config.virtual:
            frames = open_virtual_frames(config.virtual)
            pictures.append(Source("virtual people", frames, self.picture))
        deep = [self._clips(d, self.clip_3d) for d in config.clips_3d]
        if config.virtual_films:
            chunks = Chunks(open_virtual_frames(config.virtual_films))
            deep.append(Source("virtual films", chunks, self.clip_3d))
        flat = [self._clips(d, self.clip_2d) for d in config.clips_2d]
        shares: Sequence[float | None] = config.shares if deep or flat else (None,) * 3
        groups = zip((pictures, deep, flat), shares, strict=True)
        return self.mixture([s for group, share in groups for s in in_share(group, share)])

    def _clips(self, data: ClipData, make: Callable[..., Any]) -> Source[Any]:
        whole = data.model_copy(update={"every": 1})
        return Source(data.name, Chunks(whole.open(), data.stride), make)

    def picture(self, person: TrackedPerson, rng: np.random.Generator) -> dict[str, Tensor]:
        """A clip of one frame, as :meth:`tensors` has it."""
        view = ClipView.draw(rng, coloured=False, erased=self.config.erase)
        return self.tensors([person], view, rng)

    def clip_3d(
        self, piece: tuple[Frames, int, int], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """A clip with depths, its colours changed in stage 2."""
        people = clip(piece, self.config.frames, self.config.every, rng)
        view = ClipView.draw(rng, coloured=self.config.colour, erased=self.config.erase)
        return self.tensors(people, view, rng)

    def clip_2d(
        self, piece: tuple[Frames, int, int], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """A clip without depths."""
        people = clip(piece, self.config.frames, self.config.every, rng)
        return self.tensors(
            people, ClipView.draw(rng, coloured=False, erased=self.config.erase), rng
        )

    @property
    def size(self) -> int:
        """Of a crop, pixels."""
        return int(self.config.network.get("image_size", 224))

    def tensors(self, people: Clip, view: ClipView, rng: np.random.Generator) -> dict[str, Tensor]:
        """A clip of T frames seen in a given way.

        Returns:
            ``clip`` float32 [T, 3, S, S], and the labels of ``losses.maed`` [T, ...].
        """
        frames = [labels_of(person, view, self.size) for person in people]
        labels = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
        images = [
            normalised(np.ascontiguousarray(clip_crop.seen(person, view, self.size, rng)))
            for person in people
        ]
        tensors = {n: torch.from_numpy(v.astype(np.float32)) for n, v in labels.items()}
        return {"clip": torch.stack(images), **tensors}

    def collate(self) -> Callable[[list[Any]], Any]:
        """Pictures and clips of a batch, each together."""
        return by_length

    def losses(
        self, network: nn.Module, batch: list[dict[str, Tensor]], step: int
    ) -> dict[str, Tensor]:
        """See :func:`smap_train.losses.maed.maed_losses`; pictures and clips by their frames."""
        frames = [float(part["clip"].shape[0] * part["clip"].shape[1]) for part in batch]
        terms: dict[str, Tensor] = {}
        for part, count in zip(batch, frames, strict=True):
            for name, value in maed_losses(network(part["clip"]), part).items():
                own = value * (count / sum(frames))
                terms[name] = terms[name] + own if name in terms else own
        return terms

    def loss_weights(self) -> Mapping[str, float]:
        """The official ones."""
        return WEIGHTS

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Errors of labelled joints after the best similarity transform, mm, frame by frame."""
        if not self.config.held_out:
            return {}
        frames = open_virtual_frames(self.config.held_out)
        device = next(network.parameters()).device
        errors = []
        for k in np.linspace(0, len(frames) - 1, min(limit, len(frames))).round().astype(int):
            sample = self.tensors([frames[int(k)]], ClipView(), np.random.default_rng(0))
            joints = network(sample["clip"][None].to(device))["kp_3d"][0, 0].cpu().double().numpy()
            true = sample["joints_3d"][0].double().numpy()
            known = true[:, 3] > 0
            moved = procrustes(joints[known], true[known, :3])
            errors.append(np.linalg.norm(moved - true[known, :3], axis=1).mean())
        return {"pa_mpjpe_mm": _MM * float(np.mean(errors))}

    def files(self) -> list[Path]:
        """Databases and shards."""
        config = self.config
        sets = config.pictures + config.clips_3d + config.clips_2d
        databases = [file for data in sets for file in data.files()]
        return databases + shard_files([*config.virtual, *config.virtual_films, *config.held_out])


def take_encoder(network: Maed, path: Path) -> None:
    """Give a network the encoder of stage 1; what only one of their modes has is left out.

    Raises:
        InputError: if it holds another model, or its encoder doesn't fit, naming what differs.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint["model"] != MaedRecipe.model:
        raise InputError(
            f"{path} holds model {checkpoint['model']!r}; set encoder to the maed.pth of stage 1"
        )
    weights, own = checkpoint["state_dict"], network.state_dict()
    new = {k for k in weights.keys() ^ own.keys() if any(part in k for part in _TEMPORAL)}
    given, wanted = (
        {k: v for k, v in all_.items() if not k.startswith(_DRAWN) and k not in new}
        for all_ in (weights, own)
    )
    if problems := mismatches(given, wanted):
        raise InputError(
            f"the encoder in {path} doesn't fit this network's:\n{problems}\nset network as in "
            "stage 1"
        )
    network.load_state_dict(given, strict=False)


def labels_of(person: TrackedPerson, view: ClipView, size: int) -> dict[str, np.ndarray]:
    """The labels of one frame, see ``losses.maed``."""
    flat, deep = person.joints_2d.copy(), person.joints_3d.copy()
    matrix = matrix_of(person, view, size)
    flat[:, :2] = flat[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    fit = person.fit[0] if len(person.fit) else np.zeros(82)
    pose = fit[:72].reshape(-1, 3)
    if view.flip:
        flat, deep = flat[SPIN49.flip], deep[SPIN49.flip]
        flat[:, 0] = size - 1 - flat[:, 0]
        deep[:, 0] *= -1  # what counts is where joints lie about the hips
        pose = pose[SMPL24.flip] * (1.0, -1.0, -1.0)
    flat[:, :2] = 2 * flat[:, :2] / size - 1
    return {
        "joints_2d": flat, "joints_3d": deep, "pose": pose.ravel(), "shape": fit[72:],
        "has_fit": np.array(float(len(person.fit) > 0)),
    }  # fmt: skip


def by_length(samples: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """A batch for each length of clips that there are, short ones first."""
    lengths = sorted({len(sample["clip"]) for sample in samples})
    return [
        default_collate([sample for sample in samples if len(sample["clip"]) == length])
        for length in lengths
    ]
