"""Shards: tar files of ``000123.jpg`` and ``000123.json``, as ``smap-train synth`` writes them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_ros.errors import InputError
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.scenes import Image, Scene, check_order, make_scene
from smap_ros.images import decode_compressed
from smap_ros.markup import json_value

_END = bytes(2 * tarfile.BLOCKSIZE)  # what every whole tar file ends with


@dataclass(frozen=True)
class Sample:
    """One picture of a shard and its labels; the picture stays in the file.

    Attributes:
        shard: the tar file.
        name: of the sample, unique in the shard.
        offset, size: where the encoded picture lies in the file, bytes.
        labels: content of the json.
    """

    shard: Path
    name: str
    offset: int
    size: int
    labels: dict[str, Any]

    def encoded(self) -> bytes:
        """The picture as it is in the file (JPEG)."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def image(self) -> Image:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            InputError: if it is damaged.
        """
        try:
            return decode_compressed(self.encoded())
        except InputError as error:
            raise InputError(f"{self.shard}: sample {self.name}: {error}") from error


def read_shards(folder: Path) -> Iterator[Sample]:
    """The samples of all finished shards of a folder, in order; or of a single shard.

    Raises:
        InputError: if there are no shards, one is truncated or no tar file, or a sample lacks
            its picture or its labels.
    """
    if folder.is_file():
        yield from _read_shard(folder)
        return
    shards = sorted(path for path in folder.glob("*.tar") if not path.name.startswith("."))
    if not shards:
        raise InputError(f"{folder} has no shards; expected the *.tar files of `smap-train synth`")
    for shard in shards:
        yield from _read_shard(shard)


def read_scenes(folder: Path) -> list[Scene]:
    """The scenes of a folder of shards.

    Raises:
        InputError: as :func:`read_shards`, and if labels lack a field or contradict each other,
            two samples have one name, or the pictures of a film aren't in order of time.
    """
    return _scenes(read_shards(folder), folder)


def scenes_of(shard: Path) -> list[Scene]:
    """The scenes of one shard.

    Raises:
        InputError: as :func:`read_scenes`.
    """
    return _scenes(_read_shard(shard), shard)


def _scenes(samples: Iterable[Sample], path: Path) -> list[Scene]:
    scenes = [_scene(sample, index) for index, sample in enumerate(samples)]
    if (twice := repeated(scene.key for scene in scenes)) is not None:
        raise InputError(
            f"{path} has two samples {twice}: people are found by that name, and a shard that is "
            "there under two names would count twice; leave one of them"
        )
    check_order(scenes, str(path))
    return scenes


def _scene(sample: Sample, index: int) -> Scene:
    people, camera = _field(sample, "people"), _field(sample, "camera")
    film = sample.labels.get("sequence")
    return make_scene(
        people,
        camera,
        sample.image,
        key=sample.name,
        index=index,
        source=f"{sample.shard.name}/{sample.name}.jpg",
        stamp=0.0 if film is None else float(_field(sample, "stamp")),
        floor=sample.labels.get("floor"),
        sequence=None if film is None else str(film),
    )


def _field(sample: Sample, name: str) -> Any:
    try:
        return sample.labels[name]
    except (KeyError, TypeError) as error:
        raise InputError(f"{sample.shard}: the labels of {sample.name} have no {name!r}") from error


def _read_shard(path: Path) -> list[Sample]:
    pictures: dict[str, tuple[int, int]] = {}
    labels: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                name, _, kind = member.name.partition(".")
                if name in {"jpg": pictures, "json": labels}.get(kind, ()):
                    raise ValueError(f"it has two files {member.name}")
                if kind == "jpg":
                    pictures[name] = (member.offset_data, member.size)
                elif kind == "json" and (file := shard.extractfile(member)) is not None:
                    labels[name] = json_value(file.read())
        whole = _is_whole(path)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}; copy or render it again") from error
    if not whole:
        raise InputError(f"{path} is truncated: it has no end mark; copy or render it again")
    for name in sorted(pictures.keys() ^ labels.keys()):
        lacks = "json" if name in pictures else "jpg"
        raise InputError(
            f"{path}: sample {name} has no {lacks}; expected a jpg and a json for each"
        )
    return [Sample(path, name, *place, labels[name]) for name, place in pictures.items()]


def _is_whole(path: Path) -> bool:
    """Whether a tar file has its end mark: readers take one cut between members for complete."""
    with path.open("rb") as file:
        file.seek(-min(len(_END), path.stat().st_size), 2)
        return file.read() == _END
