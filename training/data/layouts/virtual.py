"""Virtual people (`smap-train synth`) with SMAP's bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.evaluation.common.shards import Sample, read_shards
from smap_ros.skeletons import MPI15
from smap_train.data.index import open_index
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Z,
    COLUMNS,
    DEPTH,
    FX,
    SCHEMA,
    SEEN,
    BodiesRecord,
    BodiesRecords,
    X,
    Y,
    bad_row,
    check_bodies,
)
from smap_train.data.shards import shard_files

DATASET = "VIRTUAL"
_VERSION = 1
_CM = 100.0  # a metre


def open_virtual(folders: Sequence[Path], cache: Path | None = None) -> BodiesRecords:
    """The scenes of folders of shards; those without anybody as well.

    Raises:
        InputError: if a folder has no shards, or one of them is damaged.
    """
    files = shard_files(folders)
    index = open_index("virtual", _VERSION, files, SCHEMA, lambda: _rows(folders), cache)
    return BodiesRecords(index, Path())


def _rows(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for sample in read_shards(folder):
            place = f"{sample.shard}, sample {sample.name}"
            try:
                record = _record(sample, place)
            except (KeyError, TypeError, ValueError) as error:
                yield bad_row(place, f"labels are malformed: {error!r}")
            else:
                yield record.row(check_bodies(record.bodies, DATASET))


def _record(sample: Sample, place: str) -> BodiesRecord:
    camera: Mapping[str, float] = sample.labels["camera"]
    # Nobody could find those of whom no pixel shows.
    people = [person for person in sample.labels["people"] if person.get("pixels", 1) > 0]
    bodies = np.zeros((len(people), len(MPI15), COLUMNS))
    for body, person in zip(bodies, people, strict=True):
        points_cm = np.array(person["joints_3d"], np.float64) * _CM
        body[:, [X, Y]] = person["joints_2d"]
        body[:, DEPTH], body[:, CAMERA_X : CAMERA_Z + 1] = points_cm[:, 2], points_cm
        body[:, SEEN] = person["visibility"]
        body[:, FX:] = [camera[name] for name in ("fx", "fy", "cx", "cy")]
    return BodiesRecord(
        image=sample.shard.resolve(), width=int(camera["width"]), height=int(camera["height"]),
        dataset=DATASET, bodies=bodies, offset=sample.offset, size=sample.size, place=place,
    )  # fmt: skip
