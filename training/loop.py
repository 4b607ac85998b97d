"""The loop that the `fit` commands share: a run that can stop anywhere and go on exactly.

Lightning runs it, so more devices or nodes are a matter of its own flags (torchrun, SLURM).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from smap_train.models.checkpoint import save_checkpoint

Precision = Literal["32-true", "bf16-mixed"]


class RunConfig(BaseModel):
    """What every run has; the configurations of the `fit` commands add their data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path = Field(description="folder of checkpoints and curves; resumed when it has any")
    batch_size: int = Field(16, gt=0, description="samples a step")
    steps: int = Field(gt=0, description="optimiser steps of the whole run")
    learning_rate: float = Field(1e-3, gt=0, description="at the peak")
    weight_decay: float = Field(1e-4, ge=0)
    warmup: int = Field(100, ge=0, description="steps that warm up")
    cooldown: float = Field(0.5, ge=0, le=1, description="share of the steps that cool down")
    ema_decay: float = Field(0.998, gt=0, lt=1, description="of the averaged weights")
    checkpoint_every: int = Field(100, gt=0, description="steps between checkpoints")
    keep_every: int = Field(
        0, ge=0, description="steps between averaged weights kept for `smap-train curve`; 0: none"
    )
    workers: int = Field(1, ge=0, description="processes that prepare samples")
    threads: int = Field(0, ge=0, description="of torch; 0 leaves its default")
    seed: int = 0


class Module(lightning.LightningModule):
    """A network with its losses; :func:`train` keeps what is under ``model``.

    Args:
        config: of the run.
        name: of the network in the registry.
        options: with which the registry builds it.
    """

    config: RunConfig
    model: torch.nn.Module

    def __init__(self, config: RunConfig, name: str, options: Mapping[str, Any]):
        super().__init__()
        self.config, self.name, self.options = config, name, dict(options)

    def configure_optimizers(self) -> Any:
        """AdamW that warms up, stays, and cools down to zero.

        The rate follows from the step alone, so a resumed run may have more or fewer steps.
        """
        config = self.config
        optimizer = torch.optim.AdamW(
            self.parameter_groups(), config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate, config))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def parameter_groups(self) -> Iterable[Any]:
        """What is trained, as an optimiser takes it."""
        return self.model.parameters()

    def log_losses(self, terms: dict[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Weighted sum of the terms; each of them goes to the curves."""
        total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        self.log_dict(terms, prog_bar=True, batch_size=self.config.batch_size)
        self.log("loss", total, batch_size=self.config.batch_size)
        return total


def rate(config: RunConfig, step: int) -> float:
    """Factor on the learning rate at a step, 0..1."""
    rising = (step + 1) / max(config.warmup, 1)
    falling = (config.steps - step) / max(config.cooldown * config.steps, 1)
    return max(min(rising, falling, 1.0), 0.0)


def train(
    module: Module,
    dataset: Dataset[Any],
    files: Iterable[Path],
    collate: Callable[[list[Any]], Any] | None = None,
    stop_after: int | None = None,
    precision: Precision = "32-true",
) -> Path:
    """Train, or resume, and write ``NAME.pth`` with the averaged weights so far.

    Args:
        module: the network and its run.
        dataset: one sample for each place in the run, ``steps * batch_size`` of them.
        files: the data's; their hash goes into the run's record.
        collate: makes a batch of samples; torch's own if None.
        stop_after: stop at this step of the run; the next call goes on from there.
        precision: of the arithmetic.

    Returns:
        Path of the weights.
    """
    config = module.config
    config.out.mkdir(parents=True, exist_ok=True)
    write_record(config, files)
    last = config.out / "last.ckpt"
    loader = DataLoader(
        dataset,
        batch_size=config.batch_size,
        sampler=ResumedOrder(
            config.steps * config.batch_size, steps_done(last) * config.batch_size
        ),
        collate_fn=collate,
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )
    trainer = lightning.Trainer(
        max_steps=min(config.steps, stop_after or config.steps),
        logger=TensorBoardLogger(config.out, name="", version=""),
        callbacks=[
            WeightAveraging(avg_fn=warm_average(config.ema_decay)),
            KeepLast(last, config.checkpoint_every),
            LearningRateMonitor("step"),
            Progress(refresh_rate=10),
        ],
        precision=precision,
        log_every_n_steps=10,
        gradient_clip_val=5.0,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None)
    weights = config.out / f"{module.name}.pth"
    save_averaged(last, weights, module)
    return weights


def start(config: RunConfig) -> None:
    """Seed all generators, set torch's threads and allocator; before the network is built."""
    lightning.seed_everything(config.seed)
    _keep_memory()
    if config.threads:
        torch.set_num_threads(config.threads)


def _keep_memory() -> None:
    """Let glibc reuse large blocks, which it would return to the system after each step.

    Fetching a step's memory anew costs an eighth of the time, more on virtual machines.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def write_record(config: RunConfig, files: Iterable[Path]) -> None:
    """Write ``run.json``: what the run is made of, as exported bundles repeat it."""
    record = {
        "config": json.loads(config.model_dump_json()),
        "commit": commit(),
        "data_hash": data_hash(files),
    }
    (config.out / "run.json").write_text(json.dumps(record, indent=2) + "\n")


def shards(folders: Iterable[Path]) -> list[Path]:
    """The shards of folders written by ``smap-train synth``, in order."""
    return [path for folder in folders for path in sorted(folder.glob("*.tar"))]


def data_hash(files: Iterable[Path]) -> str:
    """sha256 over the files' names and contents."""
    digest = hashlib.sha256()
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

    When the run's configuration says so, averaged weights along the way are kept under
    ``steps/`` beside it.

    Args:
        path: of the state, replaced each time.
        every: steps between states.
    """

    def __init__(self, path: Path, every: int):
        self.path, self.every = path, every

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: Module,  # type: ignore[override]
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time."""
        step, keep_every = trainer.global_step, pl_module.config.keep_every
        keep = keep_every > 0 and step % keep_every == 0
        if keep or step % self.every == 0 or step == trainer.max_steps:
            unfinished = self.path.with_suffix(".unfinished")
            trainer.save_checkpoint(unfinished)
            unfinished.replace(self.path)
        if keep:
            save_averaged(self.path, self.path.parent / "steps" / f"{step:06d}.pth", pl_module)


def save_averaged(state: Path, weights: Path, module: Module) -> None:
    """Write the averaged weights in one of our own training states as a checkpoint."""
    # Lightning keeps the averaged weights as the state_dict.
    averaged = torch.load(state, map_location="cpu", weights_only=True)["state_dict"]
    network = {key.removeprefix("model."): value for key, value in averaged.items()}
    save_checkpoint(weights, module.name, network, **module.options)


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
