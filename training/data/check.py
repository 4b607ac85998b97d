"""What is wrong with a data set, file by file and record by record, before it is trained on.

Records are read as training reads them, so what is found here is what training would meet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError
from smap_train.data import plausible
from smap_train.data.index import Index
from smap_train.data.layouts.known import DataSet, Records
from smap_train.data.layouts.pictures import decoded

_CHUNK = 20_000  # records at once
_KEPT = 1000  # findings of a group that are told one by one
_TRIED = 20  # pictures by which their folder is found
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# Beside and below the annotations, where data sets have their pictures.
_FOLDERS = (
    "", "images", "images/train2017", "train2017", "..", "../images", "../images/train2017",
    "../train2017", "../..", "../../images", "imageFiles", "../imageFiles", "../../imageFiles",
)  # fmt: skip

Progress = Callable[[int, int], object]


@dataclass
class Group:
    """Findings of one kind that differ in numbers only.

    Attributes:
        kind: ``file``, ``whole`` (most of its records), ``record``, ``unit``, ``depth``,
            ``camera``, ``box`` or ``picture``.
        text: of them all, with # for numbers.
        count: how many.
        findings: the first ones.
    """

    kind: str
    text: str
    count: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What was found of one data set.

    Attributes:
        path: of its annotations.
        layout: of them.
        records: how many there are.
        doubtful: how many of them have a finding.
        pictures: how many were looked at.
        notes: what wasn't looked at.
        groups: findings by kind and text.
        unreadable: nothing could be read of it.
    """

    path: Path
    layout: str
    records: int = 0
    doubtful: int = 0
    pictures: int = 0
    notes: list[str] = field(default_factory=list)
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    unreadable: bool = False

    def add(self, kind: str, finding: str, text: str = "") -> None:
        """Count a finding; those of the same text, but for numbers, are one group."""
        text = text or _NUMBER.sub("#", finding)
        group = self.groups.setdefault((kind, text), Group(kind, text))
        group.count += 1
        if len(group.findings) < _KEPT:
            group.findings.append(finding)

    @property
    def found(self) -> int:
        """How many findings there are."""
        return sum(group.count for group in self.groups.values())

    def sorted(self) -> list[Group]:
        """The groups: what concerns the whole data set first, then by their number."""
        return sorted(
            self.groups.values(), key=lambda g: (g.kind not in ("file", "whole"), -g.count)
        )

    def content(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "path": str(self.path), "layout": self.layout, "records": self.records,
            "doubtful": self.doubtful, "pictures": self.pictures, "notes": self.notes,
            "unreadable": self.unreadable, "groups": [vars(group) for group in self.sorted()],
        }  # fmt: skip


def check(data: DataSet, *, decode: bool = False, progress: Progress = lambda *_: None) -> Report:
    """Look at every record of a data set.

    Args:
        data: which.
        decode: decode the pictures, too; that takes as long as reading all of them.
        progress: is told how many records more were looked at, and how many there are.
    """
    report = Report(data.path, data.layout)
    try:
        records = data.open()
    except InputError as error:
        report.add("file", str(error))
        report.unreadable = True
        return report
    report.records = len(records.index)
    if report.records == 0:
        report.add("file", f"{data.path} has no records: nobody is labelled, or all are left out")
        return report
    wrong = np.zeros(report.records, bool)
    for number in np.flatnonzero(records.index.sizes("problem") > 0):
        row = records.index.some(int(number), ("place", "problem"))
        report.add("record", f"{row['place']}: {row['problem']}", _NUMBER.sub("#", row["problem"]))
        wrong[number] = True
    _labels(records, wrong, report)
    _pictures(data, records, decode, wrong, report, progress)
    report.doubtful = int(wrong.sum())
    return report


def _labels(records: Records, bad: np.ndarray, report: Report) -> None:
    """What people's labels can't be; of records that can be read."""
    lengths, depths, unit = [], [], None
    readable = ~bad
    for low in range(0, len(records.index), _CHUNK):
        people = records.measured(low, min(low + _CHUNK, len(records.index)))
        if people is None:
            return
        unit = people.unit
        own = readable[people.record]
        lengths.append(plausible.limb_lengths(people.points, people.skeleton)[own])
        depths.append(plausible.root_depths(people)[own])
        for doubt in plausible.doubts(people):
            if readable[doubt.record]:
                place = records.index.some(doubt.record, ["place"])["place"]
                report.add(doubt.kind, f"{place}: {doubt.text}", _NUMBER.sub("#", doubt.text))
                bad[doubt.record] = True
    assert unit is not None
    for text in (
        plausible.wrong_unit(np.concatenate(lengths), unit),
        plausible.too_far(np.concatenate(depths), unit),
    ):
        if text:
            report.add("whole", f"{report.path}: {text}")


def _pictures(
    data: DataSet,
    records: Records,
    decode: bool,
    wrong: np.ndarray,
    report: Report,
    progress: Progress,
) -> None:
    """Pictures that are missing, or damaged."""
    index = records.index
    if "image" not in index.schema:
        progress(len(index), len(index))
        return
    folder = data.images if data.images is not None else guessed_folder(index, data.path)
    if folder is None:
        report.notes.append(
            "its pictures weren't found near it and not looked at; say where they are with --images"
        )
        progress(len(index), len(index))
        return
    last, problem = None, ""
    for number, row in _picture_rows(index):
        progress(1, len(index))
        place = (row["image"], row["offset"])
        if place != last:
            last = place
            report.pictures += 1
            problem = _picture_problem(folder / row["image"], row, decode)
        if problem:
            wrong[number] = True
            name = row["image"]
            report.add("picture", f"{row['place']}: {name} {problem}", _NUMBER.sub("#", problem))


def guessed_folder(index: Index, path: Path) -> Path | None:
    """The folder near the annotations in which most of the first pictures are, if any is."""
    names = [row["image"] for _, row in _picture_rows(index, _TRIED)]
    if not names or Path(names[0]).is_absolute():
        return Path()
    base = path if path.is_dir() else path.parent
    found = [sum(os.path.isfile(base / near / name) for name in names) for near in _FOLDERS]
    best = int(np.argmax(found))
    return base / _FOLDERS[best] if found[best] else None


def _picture_rows(index: Index, most: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, picture, its place in its file, and its size of the records that can be used."""
    usable = np.flatnonzero(index.sizes("problem") == 0)[:most]
    names = {"image", "place", "offset", "size", "width", "height"} & set(index.schema)
    sized = "width" in names
    for number in usable:
        row = index.some(int(number), names)
        yield int(number), {
            "image": row["image"], "place": row["place"], "offset": int(row.get("offset", 0)),
            "length": int(row.get("size", 0)),
            "size": (int(row["width"]), int(row["height"])) if sized else None,
        }  # fmt: skip


def _picture_problem(path: Path, row: dict[str, Any], decode: bool) -> str:
    """What is wrong with a picture; nothing if it is there, and whole."""
    if not os.path.isfile(path):
        return "is missing"
    if path.stat().st_size < max(row["offset"] + row["length"], 1):
        return "is cut off, or empty"
    if not decode:
        return ""
    try:
        image = decoded(path, row["offset"], row["length"])
    except InputError as error:
        return str(error).removeprefix(f"{path} ")
    size = row["size"]
    if size is not None and image.shape[1::-1] != size:
        return f"is {image.shape[1]}x{image.shape[0]}, but stated as {size[0]}x{size[1]}"
    return ""
