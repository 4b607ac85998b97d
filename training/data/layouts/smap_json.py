"""SMAP's unified annotation file, read and written.

A JSON object whose key ``root`` lists pictures: ``img_paths``, ``img_width``, ``img_height``,
``dataset``, ``isValidation`` and ``bodys``, N x 15 x 11 numbers (:mod:`.bodies`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.index import open_index
from smap_train.data.layouts.bodies import (
    COLUMNS,
    DEPTH,
    SCHEMA,
    BodiesRecord,
    BodiesRecords,
    bad_row,
    check_bodies,
    refuse_millimetres,
)
from smap_train.data.layouts.json_stream import entries
from smap_train.files import whole_file

DATASETS = ("COCO", "MUCO", "CMUP", "H36M")
_VERSION = 1  # of what is made of a file


def open_smap_json(
    path: Path, images: Path, *, validation: bool | None = False, cache: Path | None = None
) -> BodiesRecords:
    """The records of a file, through an index that is built at the first time.

    Args:
        path: of the JSON file.
        images: folder that ``img_paths`` is relative to.
        validation: take the records with ``isValidation`` instead of those without; None for both.
        cache: folder of indexes; the user's cache folder if None.

    Raises:
        InputError: if the file is unreadable or no such file, or its depths are millimetres.
            Records that can't be used are named when they are asked for.
    """
    records = all_records(path, images, cache)
    refuse_millimetres(records.index.column("bodies")[:, MPI15.root, DEPTH], str(path))
    return BodiesRecords(records.index, images, validation=validation)


def all_records(path: Path, images: Path, cache: Path | None = None) -> BodiesRecords:
    """The records of a file, those for training and the others, whatever their unit.

    Raises:
        InputError: if the file is unreadable or no such file.
    """
    index = open_index("smap_json", _VERSION, [path], SCHEMA, lambda: _rows(path), cache)
    return BodiesRecords(index, images, validation=None)


def write_smap_json(path: Path, records: Iterable[BodiesRecord]) -> int:
    """Write a file, record by record; returns their number.

    Raises:
        InputError: if a record holds what can't be read again, or the file can't be written.
    """
    count = 0
    with whole_file(path, "annotations") as file:
        file.write(b'{"root": [')
        for record in records:
            problem = check_bodies(record.bodies, record.dataset.upper())
            if problem or len(record.bodies) == 0:
                raise InputError(f"{record.place or record.image}: {problem or 'nobody in it'}")
            entry = {
                "img_paths": record.image.as_posix(), "img_width": record.width,
                "img_height": record.height, "dataset": record.dataset,
                "isValidation": record.validation, "bodys": record.bodies.tolist(),
            }  # fmt: skip
            file.write((b",\n" if count else b"\n") + json.dumps(entry).encode())
            count += 1
        if count == 0:
            raise InputError(f"no record to write into {path}: nobody is labelled in the source")
        file.write(b"\n]}\n")
    return count


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Records of the file as the index has them; unusable ones carry their problem."""
    number = -1
    for number, entry in enumerate(entries(path, "root")):
        yield _row(entry, f"{path}, record {number}")
    if number < 0:
        raise InputError(
            f"{path} has no records under the key 'root'; expected SMAP's unified JSON, which "
            "`smap-train data convert smap-coco | smap-muco` writes"
        )


def _row(entry: Any, place: str) -> dict[str, Any]:
    if problem := _malformed(entry):
        return bad_row(place, problem)
    dataset, held_out = entry["dataset"].upper(), entry["isValidation"]
    try:
        bodies = np.array(entry["bodys"], np.float64)
    except (ValueError, TypeError, OverflowError):
        return bad_row(place, f"bodys: {_uneven(entry['bodys'])}", held_out)
    if bodies.shape[1:] != (len(MPI15), COLUMNS):
        return bad_row(
            place,
            f"bodys has the shape {bodies.shape}; expected N people x {len(MPI15)} joints x "
            f"{COLUMNS} numbers, N at least 1",
            held_out,
        )
    record = BodiesRecord(
        Path(entry["img_paths"]), entry["img_width"], entry["img_height"], dataset, bodies,
        held_out, place=place,
    )  # fmt: skip
    return record.row(check_bodies(bodies, dataset))


def _malformed(entry: Any) -> str:
    """What keeps the fields of a record other than the numbers of its people from being read."""
    if not isinstance(entry, dict):
        return f"is {type(entry).__name__}; expected an object"
    for name in ("img_paths", "img_width", "img_height", "dataset", "isValidation", "bodys"):
        if name not in entry:
            return f"has no {name}"
    for name in ("img_paths", "dataset"):
        if not isinstance(entry[name], str) or not entry[name]:
            return f"{name} is {entry[name]!r}; expected a text"
    for name in ("img_width", "img_height", "isValidation"):
        value, lowest = entry[name], int(name != "isValidation")
        if type(value) is not int or not lowest <= value < 2**31:
            return f"{name} is {value!r}; expected a whole number from {lowest} on"
    if entry["dataset"].upper() not in DATASETS:
        return f"dataset is {entry['dataset']!r}; expected one of {', '.join(DATASETS)}"
    return "" if isinstance(entry["bodys"], list) else "bodys is no list"


def _uneven(bodies: list[Any]) -> str:
    """Where lists of different lengths, or things that aren't numbers, begin."""
    for person, joints in enumerate(bodies):
        if not isinstance(joints, list) or len(joints) != len(MPI15):
            got = len(joints) if isinstance(joints, list) else type(joints).__name__
            return f"[{person}] has {got} joints; expected {len(MPI15)}"
        for joint, numbers in enumerate(joints):
            if not isinstance(numbers, list) or len(numbers) != COLUMNS:
                got = len(numbers) if isinstance(numbers, list) else type(numbers).__name__
                return f"[{person}][{joint}] has {got} numbers; expected {COLUMNS}"
            for column, value in enumerate(numbers):
                if not isinstance(value, int | float | None):
                    return f"[{person}][{joint}][{column}] is {value!r}; expected a number"
    return "holds what isn't numbers"
