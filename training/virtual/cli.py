"""Command line of the generator: ``smap-train synth`` and ``python -m smap_train.virtual``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from smap_ros.errors import InputError
from smap_ros.spread import Tick, Workers, spread
from smap_ros.stopping import Stopped
from smap_train.virtual.bodies import BodyPool
from smap_train.virtual.clip import write_clip
from smap_train.virtual.config import (
    ClipConfig,
    SequencesConfig,
    StillsConfig,
    held_out,
    load_config,
)
from smap_train.virtual.preview import drawn, write_sheet
from smap_train.virtual.shards import (
    Maker,
    ShardConfig,
    claim_folder,
    missing_shards,
    open_maker,
    write_shard,
)

_PREVIEW_COLUMNS, _PREVIEW_ROWS = 4, 8


def run(
    config: Annotated[Path, typer.Argument(help="YAML settings of a data set or clip.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    assets: Annotated[Path | None, typer.Option(help="MakeHuman data folder.")] = None,
    motion: Annotated[Path | None, typer.Option(help="Motion capture file (.npz).")] = None,
    backgrounds: Annotated[Path | None, typer.Option(help="Photos without people.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Number of pictures, of stills.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    unseen: Annotated[
        bool, typer.Option("--held-out", help="Stills with bodies, motions and clothes for tests.")
    ] = False,
    preview: Annotated[Path | None, typer.Option(help="Only write this contact sheet.")] = None,
    ray: Annotated[
        str,
        typer.Option(
            help="Ray cluster to work on: HOST:PORT, auto, or local to start one. It sees the "
            "folders under the same paths; --workers says how many work, 1: one a CPU.",
        ),
    ] = "",
) -> None:
    """Make pictures of virtual people with exact ground truth.

    Options replace the settings of the file. Runs that were stopped go on where they were.

    Example: smap-train synth training/virtual/configs/stills.yaml --preview sheet.png
    """
    given = {"out": out, "assets": assets, "motion": motion, "backgrounds": backgrounds}
    settings = load_config(config, **given, samples=samples, workers=workers)
    if unseen:
        if not isinstance(settings, StillsConfig):
            raise InputError(f"--held-out is for stills; {config} is of kind {settings.kind}")
        settings = held_out(settings)
    if isinstance(settings, ClipConfig):
        write_clip(settings, preview)
        typer.echo(f"wrote {preview or settings.out}")
    elif preview is not None:
        _write_preview(settings, preview)
        typer.echo(f"wrote {preview}")
    else:
        try:
            rate = _write_shards(_anywhere(settings) if ray else settings, ray)
        except Stopped as stop:
            stop.during = f"the same command makes the rest of the shards in {settings.out}"
            raise
        typer.echo(f"{settings.out}: complete, {rate:.1f} pictures a second in this run")


def _anywhere(config: ShardConfig) -> ShardConfig:
    """The settings with whole paths, for workers that start in other folders."""
    paths = {name: value.resolve() for name, value in config if isinstance(value, Path)}
    return config.model_copy(update=paths)


def _write_preview(config: ShardConfig, path: Path) -> None:
    maker = open_maker(config)
    chosen = range(min(_PREVIEW_COLUMNS * _PREVIEW_ROWS, config.samples))
    if isinstance(config, SequencesConfig):  # a row each, in order of time
        columns = np.linspace(0, config.shard_size - 1, _PREVIEW_COLUMNS).astype(int)
        rows = range(min(_PREVIEW_ROWS, config.sequences))
        chosen = [row * config.shard_size + int(k) for row in rows for k in columns]
    samples = [maker.sample(k) for k in chosen]
    write_sheet([drawn(s.rgb, s.truth) for s in samples], path, _PREVIEW_COLUMNS)


def _write_shards(config: ShardConfig, ray: str = "") -> float:
    """Make the missing shards; pictures a second."""
    claim_folder(config)
    todo = missing_shards(config)
    sizes = [min((k + 1) * config.shard_size, config.samples) - k * config.shard_size for k in todo]
    with tqdm(total=config.samples, initial=config.samples - sum(sizes), unit="img") as bar:
        if not todo:
            return 0.0
        BodyPool(config.bodies, config.body_seed)  # made once, before processes ask for it
        start = time.perf_counter()
        jobs = 0 if ray and config.workers == 1 else config.workers
        workers = Workers(jobs, ray)
        opener = partial(_opened if workers.several else _opened_here, config)
        for _ in spread(opener, todo, workers, bar.update):
            pass
    return sum(sizes) / (time.perf_counter() - start)


def _opened_here(config: ShardConfig) -> Callable[[int, Tick], None]:
    """The same in this process, which may render with all its threads."""
    return partial(_written, open_maker(config))


def _opened(config: ShardConfig) -> Callable[[int, Tick], None]:
    """What a worker does with a shard."""
    os.environ["LP_NUM_THREADS"] = "1"
    maker = open_maker(config)
    return partial(_written, maker)


def _written(maker: Maker, shard: int, tick: Tick) -> None:
    write_shard(maker, shard, lambda: tick(1))
