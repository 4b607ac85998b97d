"""People in frames, one after the other: what networks that look at clips learn from.

Layouts of data sets write their rows; virtual people are read here. Joints are SPIN's 49; data sets
label the last 24.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import reason
from smap_ros.evaluation.common.shards import Sample, read_shards
from smap_ros.skeletons import MPI15, SPIN49
from smap_train.data.index import TEXT, Index, Row, fixed, open_index, ragged
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.pictures import read_picture
from smap_train.data.layouts.virtual import person_box, shown_people
from smap_train.data.records import IndexedRecords, Measured
from smap_train.data.shards import shard_files

Float64 = NDArray[np.float64]

CHUNK, CHUNK_STEP = 128, 64  # frames that clips are drawn from, and how far apart these begin
_VERSION = 2
_MOST_PX, _MOST_M = 1e5, 1e3
_JOINTS = len(SPIN49)
FIT = 72 + 10
_MPI15_ROWS = [SPIN49.index(name) for name in MPI15.joints]
_SCHEMA = {
    "image": TEXT, "offset": fixed("<i8"), "size": fixed("<i8"), "track": fixed("<i8"),
    "box": fixed("<f8", 4), "joints_2d": fixed("<f8", _JOINTS, 3),
    "joints_3d": fixed("<f8", _JOINTS, 4), "fit": ragged("<f8", FIT), "place": TEXT,
    "problem": TEXT,
}  # fmt: skip


@dataclass(frozen=True)
class TrackedPerson:
    """A person in one frame.

    Attributes:
        image: the picture, or the file that it lies in.
        offset, size: bytes of the picture in its file; size 0 means the whole file.
        box: x and y of the middle, width and height, pixels.
        joints_2d: float64 [49, 3]: x, y (pixels), confidence.
        joints_3d: float64 [49, 4]: X, Y, Z (metres, camera), 1 where they are known.
        fit: float64 [0 or 1, 82]: pose (axis-angle, radians) and shape of an SMPL body.
        place: file and number of the record, for messages.
    """

    image: Path
    offset: int
    size: int
    box: Float64
    joints_2d: Float64
    joints_3d: Float64
    fit: Float64
    place: str

    def read(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            BadRecordError: if it is missing or damaged.
        """
        return read_picture(self.image, None, self.place, self.offset, self.size)


class Frames(IndexedRecords[TrackedPerson]):
    """The people of an index, frame by frame.

    Args:
        index: of them; those of a track follow each other, in the order of time.
        folder: that the pictures' paths are relative to.
        every: take every n-th.
    """

    def __init__(self, index: Index, folder: Path, every: int = 1) -> None:
        super().__init__(index, np.arange(0, len(index), every))
        self.folder = folder

    def made(self, row: Row) -> TrackedPerson:
        """The person of a row."""
        own = {name: value for name, value in row.items() if name != "track"}
        return TrackedPerson(**{**own, "image": self.folder / row["image"]})

    def measured(self, low: int, high: int) -> Measured:
        """See :class:`IndexedRecords`."""
        flat, owners = self.index.rows("joints_2d", low, high)
        deep, _ = self.index.rows("joints_3d", low, high)
        middle, sides = np.split(self.index.rows("box", low, high)[0], 2, axis=1)
        return Measured.of(
            owners, SPIN49, np.where(deep[..., 3:] > 0, deep[..., :3], np.nan),
            pixels=np.where(flat[..., 2:] > 0, flat[..., :2], np.nan),
            box=np.concatenate([middle - sides / 2, middle + sides / 2], axis=1),
        )  # fmt: skip


class Chunks:
    """Pieces of tracks, from which clips are drawn.

    Args:
        frames: all of them.
        step: from one piece to the next, frames.
    """

    def __init__(self, frames: Frames, step: int = CHUNK_STEP) -> None:
        self.frames = frames
        tracks = np.asarray(frames.index.column("track"))
        first = np.flatnonzero(np.diff(tracks, prepend=-1))
        self.pieces = [
            (start, min(start + CHUNK, end))
            for low, end in zip(first, [*first[1:], len(tracks)], strict=True)
            for start in range(low, max(end - CHUNK, low) + step, step)
            if start < end
        ]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> tuple[Frames, int, int]:
        """The frames, and the first and the end of a piece."""
        return (self.frames, *map(int, self.pieces[number]))


def clip(
    piece: tuple[Frames, int, int], length: int, every: int, rng: np.random.Generator
) -> list[TrackedPerson]:
    """So many frames of a piece, every n-th from a random one of the first n on.

    A piece that is too short goes on backwards from its end, and forwards again.
    """
    frames, start, end = piece
    count = end - start
    at = int(rng.integers(every)) + every * np.arange(length)
    period = max(2 * (count - 1), 1)
    at %= period
    return [frames.record(start + int(k)) for k in np.where(at < count, at, period - at)]


def frame_row(
    place: str, track: int, image: str, box: Float64, flat: Float64, deep: Float64, fit: Float64,
    offset: int = 0, size: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """A person in a frame as the index has them, with what is wrong with their numbers.

    Args:
        place: for messages.
        track: number of the track; people of one follow each other.
        image, offset, size, box, flat, deep, fit: as :class:`TrackedPerson` has them; ``flat``
            and ``deep`` are its ``joints_2d`` and ``joints_3d``.
    """
    problem = ""
    for name, values, most in (
        ("bbox", box, _MOST_PX), ("joints2D", flat, _MOST_PX), ("joints3D", deep, _MOST_M),
        ("pose and shape", fit, _MOST_M),
    ):  # fmt: skip
        wrong = np.argwhere(~(np.abs(values) <= most))
        if len(wrong) and not problem:
            at = "".join(f"[{k}]" for k in wrong[0])
            problem = (
                f"{name}{at} is {values[tuple(wrong[0])]:g}; expected a number within {most:.0f} "
                "of 0"
            )
    if not problem and not (box[2:] > 0).all():
        problem = f"bbox is {box.tolist()}; expected a width and height above 0"
    return {
        "image": image, "offset": offset, "size": size, "track": track, "box": box,
        "joints_2d": flat, "joints_3d": deep, "fit": fit, "place": place, "problem": problem,
    }  # fmt: skip


def bad_frame(place: str, track: int, problem: str) -> dict[str, Any]:
    """A person in a frame who can't be used, as the index has them."""
    return {
        "image": "", "offset": 0, "size": 0, "track": track, "box": np.zeros(4),
        "joints_2d": np.zeros((_JOINTS, 3)), "joints_3d": np.zeros((_JOINTS, 4)),
        "fit": np.zeros((0, FIT)), "place": place, "problem": problem,
    }  # fmt: skip


def labelled(
    names: Sequence[str], pixels: Float64 | None = None, points: Float64 | None = None
) -> tuple[Float64, Float64]:
    """Joints [J, 3] (x, y, confidence) and [J, 4] (metres, known) as spin49 has them, by name."""
    flat, deep = np.zeros((_JOINTS, 3)), np.zeros((_JOINTS, 4))
    for k, name in enumerate(names):
        if name in SPIN49.joints:
            joint = SPIN49.index(name)
            if pixels is not None:
                flat[joint] = pixels[k]
            if points is not None:
                deep[joint] = points[k]
    return flat, deep


def no_fit() -> Float64:
    """Of people without a fitted body."""
    return np.zeros((0, FIT))


def open_frames(
    layout: str,
    version: int,
    sources: Sequence[Path],
    rows: Callable[[], Iterable[dict[str, Any]]],
    images: Path,
    every: int = 1,
    cache: Path | None = None,
) -> Frames:
    """The people of a layout, through an index that is built at the first time.

    Raises:
        InputError: if a source can't be read.
    """
    index = open_index(f"{layout}-frames", version, sources, _SCHEMA, rows, cache)
    return Frames(index, images, every)


def open_virtual_frames(folders: Sequence[Path], cache: Path | None = None) -> Frames:
    """Virtual people, film by film and person by person; of stills each is a track of its own.

    Raises:
        InputError: if a folder has no shards, or one of them is damaged.
    """
    files = shard_files(folders)
    index = open_index(
        "virtual-frames", _VERSION, files, _SCHEMA, lambda: _of_shards(folders), cache
    )
    return Frames(index, Path())


def _of_shards(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """A film at a time is held in memory."""
    film: Any = None
    waiting: dict[Any, list[dict[str, Any]]] = {}
    track = 0
    for folder in folders:
        for sample in read_shards(folder):
            try:
                own = sample.labels.get("sequence")
                people = {
                    person["id"]: _of_sample(sample, person) for person in shown_people(sample)
                }
            except MALFORMED as error:
                place = f"{sample.shard}, sample {sample.name}"
                yield bad_frame(place, track, f"labels are malformed: {reason(error)}")
                track += 1
                continue
            if own is None or own != film:
                for rows in waiting.values():
                    yield from ({**row, "track": track} for row in rows)
                    track += 1
                film, waiting = own, {}
            for number, row in people.items():
                waiting.setdefault(number, []).append(row)
    for rows in waiting.values():
        yield from ({**row, "track": track} for row in rows)
        track += 1


def _of_sample(sample: Sample, person: Mapping[str, Any]) -> dict[str, Any]:
    """A person of a scene, whose track isn't known yet."""
    place = f"{sample.shard}, sample {sample.name}, person {person['id']}"
    flat, deep = np.zeros((_JOINTS, 3)), np.zeros((_JOINTS, 4))
    flat[_MPI15_ROWS, :2], flat[_MPI15_ROWS, 2] = person["joints_2d"], 1
    deep[_MPI15_ROWS, :3], deep[_MPI15_ROWS, 3] = person["joints_3d"], 1
    behind = deep[:, 2] < 0
    flat[behind], deep[behind] = 0, 0
    low, size = np.split(person_box(person, "joints"), 2)
    box = np.concatenate([low + size / 2, np.full(2, 1.1 * size.max())])
    shard = str(sample.shard.resolve())
    return frame_row(place, 0, shard, box, flat, deep, no_fit(), sample.offset, sample.size)
