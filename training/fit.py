"""`smap-train fit`: train smap_lite from a configuration, with exact resume.

Lightning runs the loop, so more devices or nodes are a matter of its own flags (torchrun, SLURM).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import lightning
import torch
import typer
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from training.data.dataset import MixedDataset, read_shards
from training.data.people import PhotoPerson, load_ccp, load_lspet
from training.losses_lite import LossWeights, lite_losses
from training.models import create
from training.models.checkpoint import load_checkpoint, save_checkpoint
from training.settings import read_config


class PhotoData(BaseModel):
    """A photo archive and its pseudo labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive: Path
    pseudo: Path


class FitConfig(BaseModel):
    """Everything that determines a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder of checkpoints and curves; resumed when it has any")
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
    batch_size: int = Field(16, gt=0)
    steps: int = Field(gt=0, description="optimiser steps of the whole run")
    learning_rate: float = Field(1e-3, gt=0, description="of the new layers, at the peak")
    backbone_rate: float = Field(0.3, ge=0, description="factor on it for the backbone")
    weight_decay: float = Field(1e-4, ge=0)
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps that warm up")
    freeze_blocks: int = Field(3, ge=0, le=16, description="backbone blocks kept as they are")
    ema_decay: float = Field(0.998, gt=0, lt=1)
    loss: LossWeights = LossWeights()
    checkpoint_every: int = Field(100, gt=0, description="steps between checkpoints")
    keep_every: int = Field(
        0, ge=0, description="steps between averaged weights kept for `smap-train curve`; 0: none"
    )
    workers: int = Field(1, ge=0)
    threads: int = Field(0, ge=0, description="of torch; 0 leaves its default")
    seed: int = 0
    initial: Path | None = Field(None, description="weights to start from instead of ImageNet")


class LiteModule(lightning.LightningModule):
    """smap_lite with its losses and its one-cycle schedule."""

    def __init__(self, config: FitConfig):
        super().__init__()
        self.config = config
        self.model = create("smap_lite", imagenet=config.initial is None)
        if config.initial is not None:
            self.model.load_state_dict(load_checkpoint(config.initial)["state_dict"])
        self.model.backbone.freeze(config.freeze_blocks)
        self.model.to(memory_format=torch.channels_last)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Weighted sum of the losses of one batch; each term is logged."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        terms = lite_losses(self.model(image), batch)
        weights = vars(self.config.loss)
        total = sum((weights[name] * value for name, value in terms.items()), torch.zeros(()))
        self.log_dict(terms, prog_bar=True)
        self.log("loss", total)
        return total

    def configure_optimizers(self) -> Any:
        """AdamW with a lower rate for the backbone, on a one-cycle schedule."""
        config = self.config
        backbone = [p for p in self.model.backbone.parameters() if p.requires_grad]
        new = [p for n, p in self.model.named_parameters() if not n.startswith("backbone.")]
        rates = [config.learning_rate * config.backbone_rate, config.learning_rate]
        optimizer = torch.optim.AdamW(
            [{"params": backbone, "lr": rates[0]}, {"params": new, "lr": rates[1]}],
            weight_decay=config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rates, total_steps=config.steps + 1, pct_start=config.warmup
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def load_config(path: Path, overrides: list[str]) -> FitConfig:
    """The configuration in a file, see :func:`training.settings.read_config`."""
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
    )


def data_hash(config: FitConfig) -> str:
    """sha256 over the training files' names and contents."""
    digest = hashlib.sha256()
    files = [p for d in (config.sports, config.street) if d for p in (d.archive, d.pseudo)]
    files += [p for folder in config.virtual for p in sorted(folder.glob("*.tar"))]
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def commit() -> str:
    """The commit of the checkout, with ``+dirty`` when it differs; ``unknown`` outside one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "HEAD")
    return (
        (head + ("+dirty" if git("status", "--porcelain", "-uno") else "")) if head else "unknown"
    )


class KeepLast(Callback):
    """Write the state of the run every so many steps and at its last one, whole or not at all.

    Args:
        path: of the state, replaced each time.
        every: steps between states.
        keep_every: steps between averaged weights that are kept, under ``steps/``; 0 for none.
    """

    def __init__(self, path: Path, every: int, keep_every: int = 0):
        self.path, self.every, self.keep_every = path, every, keep_every

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time."""
        step = trainer.global_step
        keep = self.keep_every > 0 and step % self.keep_every == 0
        if keep or step % self.every == 0 or step == trainer.max_steps:
            unfinished = self.path.with_suffix(".unfinished")
            trainer.save_checkpoint(unfinished)
            unfinished.replace(self.path)
        if keep:
            folder = self.path.parent / "steps"
            folder.mkdir(exist_ok=True)
            save_averaged(self.path, folder / f"{step:06d}.pth")


def save_averaged(state: Path, weights: Path) -> None:
    """Write the averaged weights in one of our own training states as a checkpoint."""
    # Lightning keeps the averaged weights as the state_dict.
    averaged = torch.load(state, map_location="cpu", weights_only=True)["state_dict"]
    save_checkpoint(
        weights, "smap_lite", {key.removeprefix("model."): v for key, v in averaged.items()}
    )


def warm_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that starts as the mean, so that no first weights linger."""

    def update(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # A tenth of the run so far, at most the horizon of the decay.
        share = max(1 - decay, 10.0 / (10.0 + int(count)))
        return average + (current - average) * share

    return update


class Progress(TQDMProgressBar):
    """Knows the end of a run that is resumed; Lightning's bar has no total then."""

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Begin at the step of the run, with the time left from this start's own rate."""
        super().on_train_start(trainer, pl_module)
        bar = self.train_progress_bar
        bar.reset(trainer.max_steps)
        bar.initial = bar.n = trainer.global_step


class ResumedOrder(Sampler[int]):
    """Samples in order from where a run stopped; counts as all of them.

    Lightning goes on at the right batch number but starts the loader anew.
    """

    def __init__(self, total: int, start: int):
        self.total, self.start = total, start

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))


def steps_done(checkpoint: Path) -> int:
    """Optimiser steps in one of our own training checkpoints; 0 when there is none."""
    if not checkpoint.exists():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])


def fit(config: FitConfig, stop_after: int | None = None) -> Path:
    """Train, or resume, and write ``smap_lite.pth`` with the averaged weights so far.

    Args:
        stop_after: stop at this step of the run; the next call goes on from there.

    Returns:
        Path of the weights.
    """
    lightning.seed_everything(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    record = {
        "config": json.loads(config.model_dump_json()),
        "commit": commit(),
        "data_hash": data_hash(config),
    }
    (config.out / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    module = LiteModule(config)
    dataset, last = training_set(config), config.out / "last.ckpt"
    loader = DataLoader(
        dataset,
        batch_size=config.batch_size,
        sampler=ResumedOrder(len(dataset), steps_done(last) * config.batch_size),
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )
    trainer = lightning.Trainer(
        max_steps=min(config.steps, stop_after or config.steps),
        logger=TensorBoardLogger(config.out, name="", version=""),
        callbacks=[
            WeightAveraging(avg_fn=warm_average(config.ema_decay)),
            KeepLast(last, config.checkpoint_every, config.keep_every),
            LearningRateMonitor("step"),
            Progress(refresh_rate=10),
        ],
        log_every_n_steps=10,
        gradient_clip_val=5.0,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None)
    weights = config.out / "smap_lite.pth"
    save_averaged(last, weights)
    return weights


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
