"""RefineNet's pairs: people as SMAP found them and as they are, one JSON file.

An object whose key ``3d_pairs`` lists people with ``pred_3d`` (15 x 4: X, Y, Z in camera
centimetres, score), ``pred_2d`` (15 x 4: x, y in network-input pixels first) and ``gt_3d``
(15 x 3 centimetres). A joint with score 0 in ``pred_3d`` is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError
from smap_ros.estimators.smap.lifting import CM_PER_M, Lifted
from smap_ros.estimators.smap.refining import refine_input
from smap_ros.skeletons import MPI15
from smap_train.data.index import TEXT, Row, fixed, open_index
from smap_train.data.layouts.bodies import Float64, refuse_millimetres
from smap_train.data.layouts.json_stream import entries
from smap_train.data.records import CENTIMETRES, IndexedRecords, Measured
from smap_train.files import whole_file
from smap_train.refining.found import FoundPeople

_VERSION = 1
_MOST = 10_000.0  # cm or pixels
_SHAPES = {"pred_3d": (len(MPI15), 4), "pred_2d": (len(MPI15), 4), "gt_3d": (len(MPI15), 3)}
_SCHEMA = {
    **{name: fixed("<f8", *shape) for name, shape in _SHAPES.items()},
    "place": TEXT,
    "problem": TEXT,
}


@dataclass(frozen=True)
class Pair:
    """One person as found and as they are; the arrays of the file."""

    pred_3d: Float64
    pred_2d: Float64
    gt_3d: Float64

    def input(self) -> np.ndarray:
        """What RefineNet is fed, float32 [75]."""
        lifted = Lifted(
            joints_3d=self.pred_3d[None, :, :3] / CM_PER_M,
            joints_2d=self.pred_2d[None, :, :2],
            scores=self.pred_3d[None, :, 3],
            joints_network=self.pred_2d[None, :, :2],
            index=np.zeros(1, int),
        )
        return refine_input(lifted)[0]

    def target(self) -> np.ndarray:
        """The joints relative to the root, float32 [45], centimetres; zeros for the root."""
        relative = self.gt_3d - self.gt_3d[MPI15.root]
        return relative.ravel().astype(np.float32)


class Pairs(IndexedRecords[Pair]):
    """The pairs of a file, read through its index."""

    def made(self, row: Row) -> Pair:
        """The pair of a row."""
        return Pair(**{name: row[name] for name in _SHAPES})

    def measured(self, low: int, high: int) -> Measured:
        """See :class:`IndexedRecords`; of the people as they are."""
        points, owners = self.index.rows("gt_3d", low, high)
        return Measured.of(owners, MPI15, points / CM_PER_M, unit=CENTIMETRES)


def open_pairs(path: Path, cache: Path | None = None) -> Pairs:
    """The pairs of a file, through an index that is built at the first time.

    Raises:
        InputError: if the file is unreadable or no such file, or its depths are millimetres.
    """
    pairs = all_pairs(path, cache)
    refuse_millimetres(pairs.index.column("gt_3d")[:, MPI15.root, 2], str(path))
    return pairs


def all_pairs(path: Path, cache: Path | None = None) -> Pairs:
    """The pairs of a file, whatever their unit.

    Raises:
        InputError: if the file is unreadable or no such file.
    """
    return Pairs(open_index("pairs", _VERSION, [path], _SCHEMA, lambda: _rows(path), cache))


def write_pairs(path: Path, people: FoundPeople) -> None:
    """Write people as a bundle found them in SMAP's form; ``model_pattern`` is of no use.

    Raises:
        InputError: if the file can't be written.
    """
    missing = people.scores <= 0
    columns = (CM_PER_M * people.found, people.scores[..., None])
    found = np.where(missing[..., None], 0, np.concatenate(columns, axis=-1))  # [M, 15, 4]
    depth = found[..., 2:3] - found[:, MPI15.root, None, 2:3]
    columns = (people.pixels, depth, people.scores[..., None])
    pixels = np.where(missing[..., None], 0, np.concatenate(columns, axis=-1))
    with whole_file(path, "pairs") as file:
        file.write(b'{"model_pattern": "MIX", "3d_pairs": [')
        for k, true in enumerate(CM_PER_M * people.true):
            entry = {
                "pred_3d": found[k].tolist(), "pred_2d": pixels[k].tolist(),
                "gt_3d": true.tolist(), "root_d": float(found[k, MPI15.root, 2]),
            }  # fmt: skip
            file.write((b",\n" if k else b"\n") + json.dumps(entry).encode())
        file.write(b"\n]}\n")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    number = -1
    for number, entry in enumerate(entries(path, "3d_pairs")):
        yield _row(entry, f"{path}, record {number}")
    if number < 0:
        raise InputError(
            f"{path} has no records under the key '3d_pairs'; expected SMAP's file of pairs, "
            "stage3_root2_generate_train_*.json"
        )


def _row(entry: Any, place: str) -> dict[str, Any]:
    row: dict[str, Any] = {name: np.zeros(shape) for name, shape in _SHAPES.items()}
    row.update(place=place, problem="")
    if not isinstance(entry, dict):
        return row | {"problem": f"is {type(entry).__name__}; expected an object"}
    for name, shape in _SHAPES.items():
        if name not in entry:
            return row | {"problem": f"has no {name}"}
        try:
            numbers = np.array(entry[name], np.float64)
        except (ValueError, TypeError):
            return row | {"problem": f"{name} isn't {shape[0]} x {shape[1]} numbers"}
        if numbers.shape != shape:
            return row | {"problem": f"{name} has the shape {numbers.shape}; expected {shape}"}
        row[name] = numbers
        wrong = np.argwhere(~(np.abs(numbers) <= _MOST))
        if len(wrong):
            joint, column = wrong[0]
            row["problem"] = row["problem"] or (
                f"{name}[{joint}][{column}] is {numbers[joint, column]:g}; expected a number "
                f"within {_MOST:.0f} of 0"
            )
    return row
