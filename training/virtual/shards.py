"""Shards: tar files of ``000123.jpg``, ``000123.json`` (and ``000123.mask.png``), in order.

The json of sequences (a shard each) also has ``sequence``, ``frame`` and ``stamp``.
A shard appears under its name only when complete, so a run that was stopped goes on where it
was. Equal settings give equal bytes, whatever the number of processes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from smap_ros.errors import InputError
from smap_ros.paths import make_folder
from smap_train.virtual.config import CameraSettings, SequencesConfig, StillsConfig
from smap_train.virtual.scene import Sample, Stills
from smap_train.virtual.sequences import Sequences

ShardConfig = StillsConfig | SequencesConfig
Maker = Stills | Sequences

_SETTINGS_FILE = "settings.json"
# What may differ between runs that continue one another.
_FREE_SETTINGS = {
    "out",
    "workers",
    "samples",
    "sequences",
    "backend",
    "motion",
    "assets",
    "backgrounds",
}


def open_maker(config: ShardConfig) -> Maker:
    """What makes the samples of a data set.

    Raises:
        InputError: if a source is missing or unreadable.
    """
    return Sequences(config) if isinstance(config, SequencesConfig) else Stills(config)


def shard_path(config: ShardConfig, shard: int) -> Path:
    """File of shard number ``shard``."""
    return config.out / f"shard-{shard:05d}.tar"


def missing_shards(config: ShardConfig) -> list[int]:
    """Numbers of the shards that are not finished."""
    count = -(-config.samples // config.shard_size)
    return [k for k in range(count) if not shard_path(config, k).is_file()]


def claim_folder(config: ShardConfig) -> None:
    """Make the output folder and note the settings in it.

    Raises:
        InputError: if it holds shards made with other settings.
    """
    settings = _noted(config)
    # Sources count by presence: the same data may lie elsewhere on another machine.
    settings["sources"] = {
        name: getattr(config, name) is not None for name in ("motion", "assets", "backgrounds")
    }
    note = config.out / _SETTINGS_FILE
    if note.is_file():
        found = json.loads(note.read_text())
        # Settings that are younger than the folder had their defaults then.
        found = {**_noted(type(config)(kind=config.kind)), **found}
        found["camera"] = {**CameraSettings().model_dump(mode="json"), **found["camera"]}
        wrong = sorted(k for k in settings if found.get(k) != settings[k])
        if wrong:
            raise InputError(
                f"{config.out} holds shards made with other settings ({', '.join(wrong)}); "
                "choose another folder with --out, or empty this one"
            )
        return
    make_folder(config.out, "the folder of the shards")
    note.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _noted(config: ShardConfig) -> dict[str, Any]:
    """The settings that determine what is in the shards."""
    return config.model_dump(mode="json", exclude=_FREE_SETTINGS)


def write_shard(maker: Maker, shard: int, on_sample: Callable[[], None] = lambda: None) -> Path:
    """Make all samples of a shard and write it.

    Args:
        on_sample: called after each sample, for progress.
    """
    config = maker.config
    path = shard_path(config, shard)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    first = shard * config.shard_size
    last = min(first + config.shard_size, config.samples)
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for index in range(first, last):
                for name, data in _files(maker.sample(index), index, config.masks):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
                on_sample()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _files(sample: Sample, index: int, masks: bool) -> list[tuple[str, bytes]]:
    stem = f"{index:06d}"
    text = json.dumps(sample.truth, separators=(",", ":")).encode()
    files = [(f"{stem}.jpg", sample.jpeg), (f"{stem}.json", text)]
    if masks:
        png = cv2.imencode(".png", sample.labels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
        files.append((f"{stem}.mask.png", png.tobytes()))
    return files
