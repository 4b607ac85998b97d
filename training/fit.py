"""`smap-train fit`: train smap_lite from a configuration, with exact resume."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from smap_ros.errors import InputError
from smap_train.data.augment import NONE, Augmentation
from smap_train.data.dataset import MixedDataset, read_shards
from smap_train.data.people import PhotoPerson, load_ccp, load_lspet
from smap_train.loop import Module, Precision, RunConfig, shards, start, train
from smap_train.losses_lite import LossWeights, lite_losses
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, mismatches
from smap_train.models.exported import load_exported, read_exported, settle_batch_norms
from smap_train.models.smap_lite import SmapLite
from smap_train.settings import read_config

_SETTLING = 128  # pictures that give a bundle's batch norms their statistics


_NECKS = ("neck_depth.", "neck_pose.", "depth_spread.")  # heads that weights may lack


class PhotoData(BaseModel):
    """A photo archive and its pseudo labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive: Path
    pseudo: Path


class FitConfig(RunConfig):
    """Everything that determines a run."""

    sports: PhotoData | None = Field(None, description="Leeds Sports Pose Extended")
    street: PhotoData | None = Field(None, description="Clothing Co-Parsing photos")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    virtual_share: float = Field(0.5, ge=0, le=1, description="share of pictures from them")
    paste_share: float = Field(
        0.3, ge=0, le=1, description="share of the photos that are masked people, pasted"
    )
    sports_share: float = Field(
        0.6, ge=0, le=1, description="share of the composed photos that are sports photos"
    )
    two_rows: float = Field(
        0.0, ge=0, le=1, description="share of the composed photos with two rows of people"
    )
    holdout: int = Field(500, ge=0, description="last photos of each archive kept for testing")
    width: int = Field(448, multiple_of=32)
    height: int = Field(256, multiple_of=32)
    backbone_rate: float = Field(0.3, ge=0, description="factor on the rate for the backbone")
    freeze_blocks: int = Field(3, ge=0, le=16, description="backbone blocks kept as they are")
    loss: LossWeights = LossWeights()
    precision: Precision = Field("32-true", description="bf16-mixed where the processor has it")
    backbone: Literal["movenet", "efficientnet_lite0"] = "movenet"
    movenet: Path | None = Field(None, description="archive of MoveNet's published weights")
    necks: bool = Field(False, description="necks tell depth and pose too, and depths a spread")
    more: Augmentation = Field(NONE, description="shares of near, turned, ... pictures")
    initial: Path | None = Field(
        None, description="weights to start from instead of published: NAME.pth or a model.onnx"
    )


class LiteModule(Module):
    """smap_lite with its losses."""

    config: FitConfig

    def __init__(self, config: FitConfig):
        options = {"backbone": config.backbone, **({"necks": True} if config.necks else {})}
        super().__init__(config, "smap_lite", options)
        self.model = create(self.name, **self.options)
        if config.initial is None:
            self.model.load_pretrained(config.movenet)
        else:
            load_initial(self.model, config.initial)
        self.model.backbone.freeze(config.freeze_blocks)
        self.model.to(memory_format=torch.channels_last)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Weighted sum of the losses of one batch."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        return self.log_losses(lite_losses(self.model(image), batch), vars(self.config.loss))

    def parameter_groups(self) -> Iterable[Any]:
        """The new layers at the run's rate, the backbone at a lower one."""
        backbone = [p for p in self.model.backbone.parameters() if p.requires_grad]
        new = [p for n, p in self.model.named_parameters() if not n.startswith("backbone.")]
        slow = self.config.learning_rate * self.config.backbone_rate
        return [{"params": backbone, "lr": slow}, {"params": new}]


def load_initial(model: SmapLite, path: Path) -> None:
    """Start from a checkpoint or an exported bundle; heads that these lack start from others.

    Raises:
        InputError: if the weights don't fit.
    """
    if path.suffix == ".onnx":
        missing = load_exported(model, read_exported(path))
    else:
        weights = load_checkpoint(path)["state_dict"]
        expected = model.state_dict()
        missing = sorted(set(expected) - set(weights))
        known = {key: value for key, value in expected.items() if key in weights}
        problems = mismatches(weights, known)
        if problems:
            raise InputError(f"{path} doesn't fit this network:\n{problems}")
        model.load_state_dict(weights, strict=False)
    if not all(name.startswith(_NECKS) for name in missing):
        raise InputError(f"{path} lacks weights of this network: {', '.join(missing[:5])}, ...")
    if missing:
        model.start_necks()


def load_config(path: Path, overrides: list[str]) -> FitConfig:
    """The configuration in a file, see :func:`smap_train.settings.read_config`."""
    return read_config(FitConfig, path, overrides)


def training_set(config: FitConfig) -> MixedDataset:
    """The mixture a configuration asks for, without its held-out photos."""
    sports: list[PhotoPerson] = []
    street: list[PhotoPerson] = []
    if config.sports:
        sports = load_lspet(config.sports.archive, config.sports.pseudo)
    if config.street:
        street = load_ccp(config.street.archive, config.street.pseudo)
    keep = -config.holdout if config.holdout else None
    scenes = [scene for folder in config.virtual for scene in read_shards(folder)]
    return MixedDataset(
        sports[:keep],
        street[: -config.holdout // 5 if config.holdout else None],
        scenes,
        size=(config.width, config.height),
        length=config.steps * config.batch_size,
        seed=config.seed,
        virtual_share=config.virtual_share,
        paste_share=config.paste_share,
        sports_share=config.sports_share,
        two_rows=config.two_rows,
        more=config.more,
    )


def fit(config: FitConfig, stop_after: int | None = None) -> Path:
    """Train, or resume, and write ``smap_lite.pth``, see :func:`smap_train.loop.train`."""
    start(config)
    photos = [data for data in (config.sports, config.street) if data]
    files = [path for data in photos for path in (data.archive, data.pseudo)]
    files += shards(config.virtual)
    module, dataset = LiteModule(config), training_set(config)
    if config.initial is not None and config.initial.suffix == ".onnx":
        images = (dataset[k]["image"][None] for k in range(min(_SETTLING, len(dataset))))
        settle_batch_norms(module.model, images)
    return train(
        module,
        dataset,
        files,
        stop_after=stop_after,
        precision=config.precision,
    )


def run(
    config: Annotated[Path, typer.Argument(help="YAML, see training/configs/")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    stop_after: Annotated[int | None, typer.Option(help="Stop at this step of the run.")] = None,
) -> None:
    """Train smap_lite; run again to resume from the last checkpoint.

    Example: smap-train fit training/configs/smap_lite.yaml steps=5000 out=runs/a
    """
    weights = fit(load_config(config, overrides or []), stop_after)
    typer.echo(f"weights: {weights}")
