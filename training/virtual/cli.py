"""Command line of the generator: ``smap-train synth`` and ``python -m training.virtual``."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing as mp
import os
import time
from pathlib import Path
from queue import Empty
from typing import Annotated

import typer
from tqdm import tqdm

from smap_ros.errors import SmapError
from training.virtual.bodies import BodyPool
from training.virtual.clip import write_clip
from training.virtual.config import ClipConfig, StillsConfig, load_config
from training.virtual.preview import drawn, write_sheet
from training.virtual.scene import Stills
from training.virtual.shards import claim_folder, missing_shards, write_shard

log = logging.getLogger(__name__)
_PREVIEW_COLUMNS, _PREVIEW_ROWS = 4, 5


def run(
    config: Path,
    *,
    out: Path | None = None,
    assets: Path | None = None,
    motion: Path | None = None,
    backgrounds: Path | None = None,
    samples: int | None = None,
    workers: int | None = None,
    preview: Path | None = None,
) -> None:
    """Make the data set or clip that a configuration describes.

    Args:
        config: YAML file, see :mod:`training.virtual.config`.
        out, assets, motion, backgrounds, samples, workers: replace the file's settings.
        preview: only write a contact sheet of the first samples with skeletons.

    Raises:
        InputError: for wrong settings or unreadable assets.
        EngineError: if no OpenGL context can be made.
    """
    given = {"out": out, "assets": assets, "motion": motion, "backgrounds": backgrounds}
    settings = load_config(config, **given, samples=samples, workers=workers)
    if isinstance(settings, ClipConfig):
        write_clip(settings, preview)
    elif preview is not None:
        _write_preview(settings, preview)
    else:
        _write_shards(settings)


def _write_preview(config: StillsConfig, path: Path) -> None:
    stills = Stills(config)
    count = min(_PREVIEW_COLUMNS * _PREVIEW_ROWS, config.samples)
    samples = [stills.sample(k) for k in range(count)]
    write_sheet([drawn(s.rgb, s.truth) for s in samples], path, _PREVIEW_COLUMNS)
    log.info("wrote %s", path)


def _write_shards(config: StillsConfig) -> None:
    claim_folder(config)
    todo = missing_shards(config)
    sizes = [min((k + 1) * config.shard_size, config.samples) - k * config.shard_size for k in todo]
    with tqdm(total=config.samples, initial=config.samples - sum(sizes), unit="img") as bar:
        if not todo:
            return
        BodyPool(config.bodies, config.body_seed)  # made once, before processes ask for it
        start = time.perf_counter()
        if config.workers == 1:
            stills = Stills(config)
            for shard in todo:
                write_shard(stills, shard, lambda: bar.update())
        else:
            _in_parallel(config, todo, bar)
    log.info("%d pictures, %.1f a second", sum(sizes), sum(sizes) / (time.perf_counter() - start))


def _in_parallel(config: StillsConfig, todo: list[int], bar: tqdm) -> None:
    """Whole shards in several processes; OpenGL contexts don't survive a fork, so spawn."""
    context = mp.get_context("spawn")
    shards, ticks = context.Queue(), context.Queue()
    processes = [
        context.Process(target=_work, args=(config, shards, ticks), daemon=True)
        for _ in range(min(config.workers, len(todo)))
    ]
    for shard in todo:
        shards.put(shard)
    for process in processes:
        shards.put(None)
        process.start()
    while any(p.is_alive() for p in processes) or not ticks.empty():
        with contextlib.suppress(Empty):
            bar.update(ticks.get(timeout=0.5))
    failed = [p.exitcode for p in processes if p.exitcode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(processes)} processes ended with {failed}")


def _work(config: StillsConfig, shards: mp.Queue, ticks: mp.Queue) -> None:
    os.environ["LP_NUM_THREADS"] = "1"
    stills = Stills(config)
    while (shard := shards.get()) is not None:
        write_shard(stills, shard, lambda: ticks.put(1))


def main(
    config: Annotated[Path, typer.Argument(help="YAML settings of a data set or clip.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    assets: Annotated[Path | None, typer.Option(help="MakeHuman data folder.")] = None,
    motion: Annotated[Path | None, typer.Option(help="Motion capture file (.npz).")] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of photos without people.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Number of pictures.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    preview: Annotated[Path | None, typer.Option(help="Only write this contact sheet.")] = None,
) -> None:
    """Make pictures of virtual people with exact ground truth."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(
            config,
            out=out,
            assets=assets,
            motion=motion,
            backgrounds=backgrounds,
            samples=samples,
            workers=workers,
            preview=preview,
        )
    except SmapError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
