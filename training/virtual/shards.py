"""Shards: tar files of ``000123.jpg``, ``000123.json`` (and ``000123.mask.png``), in order.

The json of sequences (a shard each) also has ``sequence``, ``frame`` and ``stamp``.
A shard appears under its name only when complete, so a run that was stopped goes on where it
was; one that ended with fewer pictures, as the last of a smaller set does, is made anew. Equal
settings give equal bytes, whatever the number of processes.
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

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.common.shards import read_shards
from smap_ros.markup import json_value
from smap_ros.paths import make_folder
from smap_train.files import whole_file
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
    """Numbers of the shards that are not there, or hold fewer pictures than they should."""
    count = -(-config.samples // config.shard_size)
    return [k for k in range(count) if _pictures(shard_path(config, k)) < len(_indices(config, k))]


def _indices(config: ShardConfig, shard: int) -> range:
    """Numbers of the samples in a shard."""
    first = shard * config.shard_size
    return range(first, min(first + config.shard_size, config.samples))


def _pictures(path: Path) -> int:
    """How many pictures are in a shard; none in one that is missing or damaged."""
    try:
        return sum(1 for _ in read_shards(path))
    except InputError:
        return 0


def claim_folder(config: ShardConfig) -> None:
    """Make the output folder and note the settings in it.

    Raises:
        InputError: if it holds shards made with other settings, or its note of them is damaged or
            missing.
    """
    settings = _noted(config)
    # Sources count by presence: the same data may lie elsewhere on another machine.
    settings["sources"] = {
        name: getattr(config, name) is not None for name in ("motion", "assets", "backgrounds")
    }
    note = config.out / _SETTINGS_FILE
    if not note.exists() and any(config.out.glob("shard-*.tar")):
        raise InputError(
            f"{config.out} holds shards and no {_SETTINGS_FILE} that says what they were made "
            "with; choose another folder with --out, or empty this one"
        )
    if note.exists():
        found = _found(note, config)
        wrong = sorted(k for k in settings if found.get(k) != settings[k])
        if wrong:
            raise InputError(
                f"{config.out} holds shards made with other settings ({', '.join(wrong)}); "
                "choose another folder with --out, or empty this one"
            )
        return
    make_folder(config.out, "the folder of the shards")
    with whole_file(note, "the settings of the shards") as file:
        file.write((json.dumps(settings, indent=2, sort_keys=True) + "\n").encode())


def _found(note: Path, config: ShardConfig) -> dict[str, Any]:
    """What a folder notes; settings that are younger than it had their defaults then.

    Raises:
        InputError: if the note is damaged.
    """
    try:
        found = json_value(note.read_bytes())
        camera = {**CameraSettings().model_dump(mode="json"), **found.get("camera", {})}
        return {**_noted(type(config)(kind=config.kind)), **found, "camera": camera}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{note} is damaged ({reason(error)}): what its shards were made with isn't known; "
            "choose another folder with --out, or empty this one"
        ) from error


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
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for index in _indices(config, shard):
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
