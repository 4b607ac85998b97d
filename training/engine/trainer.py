"""Training a recipe, or going on where it stopped."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from smap_ros.errors import InputError
from smap_ros.stopping import held, leave_to_parent
from smap_train.engine.checkpoint import (
    LAST,
    KeepLast,
    save_averaged,
    steps_done,
    warm_average,
    within_step,
)
from smap_train.engine.config import RunConfig
from smap_train.engine.estimate import Rates, estimate
from smap_train.engine.module import RecipeModule
from smap_train.engine.record import check_resumed, write_record
from smap_train.engine.resuming import begin_anew, check_fits
from smap_train.engine.sampling import SKIPPED, RunOrder, Share, skipped_records
from smap_train.engine.validation import Validate
from smap_train.files import only_writer
from smap_train.recipes.base import Recipe

LOG = logging.getLogger(__name__)

# Of Lightning about what is meant so: the order of samples is the run's, and resumes with it.
_NOT_OURS = (
    ".*ended before the epoch ended and your dataloader is not resumable",
    ".*does not have many workers",
    ".*smaller than the logging interval",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",
    ".*callbacks used to create the checkpoint need to be provided",  # --change ema_decay=0
)


def train(recipe: Recipe[Any], stop_after: int | None = None, change: bool = False) -> Path:
    """Train, or resume, and write ``NAME.pth`` with the averaged weights so far.

    Args:
        recipe: with the configuration of the run.
        stop_after: stop at this step of the run, 1 or later; the next call goes on from there.
        change: resume although settings differ that change the result.

    Returns:
        Path of the weights.

    Raises:
        InputError: if the run can't be resumed with these settings or goes on elsewhere, the data
            can't be used, what is asked for can't be measured, the folder holds what another run
            left, or the losses are no numbers any more.
        Stopped: if a signal asked for it, after the state was written.
    """
    config: RunConfig = recipe.config
    if stop_after is not None and stop_after < 1:
        raise InputError(f"the step to stop after is {stop_after}; expected 1 or later")
    require_measures(recipe)
    start(config)
    last = config.out / LAST
    done = steps_done(last)
    if done:
        check_resumed(config, change)
    keep = KeepLast(last, config.checkpoint_every, config.keep_every, config.checkpoint_minutes)
    stop = StopWhenAsked(keep, config)
    rates = Rates(config.batch_size / config.accumulate, config.workers)
    trainer = _trainer(
        config,
        max_steps=config.steps if stop_after is None else min(config.steps, stop_after),
        callbacks=[
            *([WeightAveraging(avg_fn=warm_average(config.ema_decay))] if config.ema_decay else []),
            keep,
            stop,  # before what takes long: until then SIGTERM is Lightning's
            *([Validate(config, keep)] if config.validate_every else []),
            rates,
            LearningRateMonitor("step"),
            Progress(refresh_rate=10),
        ],
    )
    with only_writer(config.out) if trainer.is_global_zero else contextlib.nullcontext():
        if trainer.is_global_zero and not done:
            begin_anew(config, recipe.model)
        module = RecipeModule(recipe)
        if done:
            check_fits(last, module)
        if trainer.is_global_zero:
            write_record(config, recipe.files(), trainer.world_size)
        loader = _loader(recipe, trainer, done)
        if trainer.is_global_zero and done < trainer.max_steps:
            expected = estimate(module.model, loader.dataset, config.ema_decay > 0)
            rates.loader_rate = expected.loader_rate
            LOG.info("%s", expected)
        with held() as asked:
            stop.asked = asked
            try:
                trainer.fit(
                    module, loader, ckpt_path=str(last) if done else None, weights_only=True
                )
            except InputError as error:
                told = told_by_worker(error)
                if told is error:
                    raise
                raise told from error
            stopped = asked.take()
        weights = config.out / f"{recipe.model}.pth"
        if trainer.is_global_zero and last.exists():
            save_averaged(last, weights, module)
        skipped = skipped_records(config.out / SKIPPED) if trainer.is_global_zero else []
        if skipped:
            LOG.warning("records left out: %d; %s lists them", len(skipped), config.out / SKIPPED)
        if stopped is not None:
            stopped.during = f"the run stands at step {steps_done(last)}; the same command goes on"
            raise stopped
    return weights


def require_measures(recipe: Recipe[Any]) -> None:
    """Refuse to measure a run on the way where there is nothing to measure it on.

    Raises:
        InputError: saying what to set.
    """
    every, why = recipe.config.validate_every, recipe.unmeasured()
    if every and why:
        raise InputError(
            f"validate_every is {every}, but {why}: nothing would be measured, and no best weights "
            "kept"
        )
    if every and (both := recipe.also_learned()):
        LOG.warning(
            "%d of the files of held_out are learned from as well, as %s: what they measure "
            "flatters the run, and the best weights are those that know them by heart",
            len(both), both[0],
        )  # fmt: skip


def _trainer(config: RunConfig, **settings: Any) -> lightning.Trainer:
    """Lightning's, on the devices and with the arithmetic that the configuration says.

    Raises:
        InputError: if this machine or Lightning hasn't got them.
    """
    try:
        return lightning.Trainer(
            **_devices(config),
            **settings,
            logger=TensorBoardLogger(config.out, name="", version=""),
            precision=config.precision,
            accumulate_grad_batches=config.accumulate,
            sync_batchnorm=config.sync_bn,
            log_every_n_steps=10,
            gradient_clip_val=config.clip or None,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the order of samples is ours, on any number of devices
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(
            f"devices {config.devices}, nodes {config.nodes}, strategy {config.strategy}, "
            f"precision {config.precision}: {' '.join(str(error).split())}"
        ) from error


def told_by_worker(error: InputError) -> InputError:
    """A user's mistake as it was told: torch wraps what a worker raises in its traceback."""
    name = f"{type(error).__module__}.{type(error).__qualname__}: "
    _, wrapped, message = str(error).rpartition(name)
    return type(error)(message.strip()) if wrapped else error


def _loader(recipe: Recipe[Any], trainer: lightning.Trainer, done: int) -> DataLoader[Any]:
    """The samples of this device, from the step where the run stands."""
    config = recipe.config
    share = Share(config.batch_size, trainer.global_rank, trainer.world_size, config.accumulate)
    return DataLoader(
        recipe.dataset(),
        batch_size=share.size,
        sampler=RunOrder(share, config.steps, done),
        collate_fn=recipe.collate(),
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
        worker_init_fn=leave_to_parent,  # a terminal and a batch queue signal them as well
    )


def start(config: RunConfig) -> None:
    """Seed all generators, set torch's threads and allocator; before the network is built."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for text in _NOT_OURS:
        warnings.filterwarnings("ignore", message=text)
    lightning.seed_everything(config.seed, verbose=False)
    _keep_memory()
    if config.threads:
        torch.set_num_threads(config.threads)


def _devices(config: RunConfig) -> Mapping[str, Any]:
    """Devices, nodes and strategy; torchrun's and SLURM's word counts, where they started us."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE", 0)))
    if local:
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", os.environ.get("SLURM_JOB_NUM_NODES", 1)))
    else:
        local, nodes = config.devices, config.nodes
    several = local * nodes > 1
    accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    if config.sync_bn and accelerator == "cpu":
        raise InputError(
            "sync_bn is true, but torch synchronises batch norm on GPUs only; set sync_bn=false"
        )
    strategy = "ddp" if several and config.strategy == "auto" else config.strategy
    devices: int | str = local or ("auto" if accelerator == "gpu" else 1)
    return {
        "accelerator": accelerator, "devices": devices, "num_nodes": nodes, "strategy": strategy
    }  # fmt: skip


def _keep_memory() -> None:
    """Let glibc reuse large blocks, which it would return to the system after each step.

    Fetching a step's memory anew costs an eighth of the time, more on virtual machines.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


class StopWhenAsked(Callback):
    """Ends a run after the current step, with its state written, when a signal or the clock says.

    Args:
        keep: writes the state.
        config: its ``time_limit`` counts from here.
    """

    def __init__(self, keep: KeepLast, config: RunConfig) -> None:
        self.keep = keep
        self.asked: object = False  # true when a signal waits
        self.handler = signal.getsignal(signal.SIGTERM)
        limit = config.time_limit
        self.until = None if limit is None else time.monotonic() + limit.total_seconds()

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Take SIGTERM back from Lightning, which would end the run without its state."""
        if callable(self.handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop all processes if one of them was asked."""
        if trainer.global_step and within_step(trainer, batch_idx):
            return  # within its first step a run may end: it begins anew
        late = self.until is not None and time.monotonic() > self.until
        wanted = bool(self.asked) or late
        if trainer.world_size > 1:
            wanted = trainer.strategy.reduce_boolean_decision(wanted, all=False)
        if wanted:
            self.keep.save(trainer)
            trainer.should_stop = True


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
