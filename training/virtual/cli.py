"""Command line of the generator: ``smap-train synth`` and ``python -m smap_train.virtual``."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import time
from pathlib import Path
from queue import Empty
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from smap_ros.errors import InputError
from smap_ros.stopping import Stopped, stoppable
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
            rate = _write_shards(settings)
        except Stopped as stop:
            stop.during = f"the same command makes the rest of the shards in {settings.out}"
            raise
        typer.echo(f"{settings.out}: complete, {rate:.1f} pictures a second in this run")


def _write_preview(config: ShardConfig, path: Path) -> None:
    maker = open_maker(config)
    chosen = range(min(_PREVIEW_COLUMNS * _PREVIEW_ROWS, config.samples))
    if isinstance(config, SequencesConfig):  # a row each, in order of time
        columns = np.linspace(0, config.shard_size - 1, _PREVIEW_COLUMNS).astype(int)
        rows = range(min(_PREVIEW_ROWS, config.sequences))
        chosen = [row * config.shard_size + int(k) for row in rows for k in columns]
    samples = [maker.sample(k) for k in chosen]
    write_sheet([drawn(s.rgb, s.truth) for s in samples], path, _PREVIEW_COLUMNS)


def _write_shards(config: ShardConfig) -> float:
    """Make the missing shards; pictures a second."""
    claim_folder(config)
    todo = missing_shards(config)
    sizes = [min((k + 1) * config.shard_size, config.samples) - k * config.shard_size for k in todo]
    with tqdm(total=config.samples, initial=config.samples - sum(sizes), unit="img") as bar:
        if not todo:
            return 0.0
        BodyPool(config.bodies, config.body_seed)  # made once, before processes ask for it
        start = time.perf_counter()
        if config.workers == 1:
            maker = open_maker(config)
            for shard in todo:
                write_shard(maker, shard, lambda: bar.update())
        else:
            _in_parallel(config, todo, bar)
    return sum(sizes) / (time.perf_counter() - start)


def _in_parallel(config: ShardConfig, todo: list[int], bar: tqdm) -> None:
    """Whole shards in several processes; OpenGL contexts don't survive a fork, so spawn."""
    context = mp.get_context("spawn")
    shards, ticks = context.Queue(), context.Queue()
    processes = [
        context.Process(target=_work, args=(config, shards, ticks), daemon=True)
        for _ in range(min(config.workers, len(todo)))
    ]
    for shard in todo:
        shards.put(shard)
    try:
        for process in processes:
            shards.put(None)
            process.start()
        while any(p.is_alive() for p in processes) or not ticks.empty():
            with contextlib.suppress(Empty):
                bar.update(ticks.get(timeout=0.5))
    except BaseException:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
        raise
    failed = [p.exitcode for p in processes if p.exitcode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(processes)} processes ended with {failed}")


def _work(config: ShardConfig, shards: mp.Queue, ticks: mp.Queue) -> None:
    os.environ["LP_NUM_THREADS"] = "1"
    with contextlib.suppress(Stopped), stoppable():  # the shard under way leaves nothing behind
        maker = open_maker(config)
        while (shard := shards.get()) is not None:
            write_shard(maker, shard, lambda: ticks.put(1))
