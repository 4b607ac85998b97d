"""Virtual people (`smap-train synth`) with SMAP's bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.common.shards import Sample, read_shards
from smap_ros.images import check_complete
from smap_ros.skeletons import MPI15
from smap_train.data.index import open_index
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Z,
    COLUMNS,
    DEPTH,
    FX,
    MOST_PX,
    SCHEMA,
    SEEN,
    BodiesRecord,
    BodiesRecords,
    X,
    Y,
    bad_row,
    check_bodies,
)
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.persons import COLUMNS as PERSON_COLUMNS
from smap_train.data.layouts.persons import (
    PersonRecord,
    PersonRecords,
    bad_person,
    open_persons,
    with_neighbours,
)
from smap_train.data.records import METRES
from smap_train.data.shards import shard_files
from smap_train.engine.sampling import BadRecordError, list_skipped

Boxes = Literal["labelled", "joints"]


class Clear(NamedTuple):
    """People who are clear enough to be learnt from.

    Attributes:
        seen: fewest of their joints that are not hidden.
        side: shortest longer side of their box, pixels.
    """

    seen: int = 0
    side: float = 0.0


EVERYBODY = Clear()

DATASET = "VIRTUAL"
_VERSION = 3
_SEEN = 2  # a joint that isn't hidden
_FEWEST_JOINTS = 5  # in the picture, of people who are looked at one by one
_NEAREST = 0.3  # metres
_CM = 100.0  # a metre


def open_virtual(
    folders: Sequence[Path], cache: Path | None = None, *, boxes: bool = False
) -> BodiesRecords:
    """The scenes of folders of shards; those without anybody as well.

    Args:
        folders: from ``smap-train synth``.
        cache: folder of the index of what is in them.
        boxes: whether scenes with wrong boxes can't be used; only those who look at people one by
            one read them.

    Raises:
        InputError: if a folder has no shards, or one of them is damaged.
    """
    files = shard_files(folders)
    name = "virtual-boxes" if boxes else "virtual"
    index = open_index(name, _VERSION, files, SCHEMA, lambda: _rows(folders, boxes), cache)
    return BodiesRecords(index, Path())


def _rows(folders: Sequence[Path], boxes: bool) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for sample in read_shards(folder):
            place = f"{sample.shard}, sample {sample.name}"
            problem = scene_problem(sample)
            if boxes and not problem:
                problem = _box_problem(sample)
            yield bad_row(place, problem) if problem else _record(sample, place).row()


def scene_problem(sample: Sample) -> str:
    """What is wrong with the labels of a scene; or nothing."""
    try:
        return check_bodies(_record(sample, "").bodies, DATASET)
    except MALFORMED as error:
        return f"labels are malformed: {reason(error)}"


def _box_problem(sample: Sample) -> str:
    """What is wrong with the labelled boxes of a scene's people; or nothing."""
    try:
        for person in shown_people(sample):
            box = person_box(person, "labelled")
            if box.shape != (4,) or not (np.abs(box) <= MOST_PX).all():
                return (
                    f"box of person {person['id']} is {person['box']}; expected x, y, width and "
                    "height in pixels"
                )
    except MALFORMED as error:
        return f"labels are malformed: {reason(error)}"
    return ""


def floor_problem(sample: Sample) -> str:
    """What is wrong with the floor of a scene; or nothing. Other forms' shards state none."""
    floor = sample.labels.get("floor")
    if floor is None:
        return "it states no floor; expected shards of `smap-train synth`"
    try:
        numbers = np.array([*floor["normal"], floor["distance"]], np.float64)
    except MALFORMED as error:
        return f"its floor is malformed: {reason(error)}"
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        return f"its floor is {floor}; expected normal [x, y, z] and distance in metres"
    return ""


def usable_samples(
    folders: Sequence[Path],
    on_bad: Literal["stop", "skip"] = "stop",
    skipped: Path | None = None,
    *,
    floor: bool = False,
) -> Iterator[Sample]:
    """The scenes whose labels and picture can be used, for those who keep them in memory.

    Args:
        folders: of shards.
        on_bad: whether a scene that can't be used is an error, or left out.
        skipped: file that lists those left out.
        floor: whether one without a floor can't be used.

    Raises:
        InputError: if there are no shards, or one is damaged.
        BadRecordError: if a scene can't be used, and none may be left out.
    """
    for folder in folders:
        for number, sample in enumerate(read_shards(folder)):
            problem = scene_problem(sample)
            if floor and not problem:
                problem = floor_problem(sample)
            try:
                check_complete(sample.encoded())
            except InputError as error:
                problem = problem or f"its picture is damaged: {error}"
            if not problem:
                yield sample
                continue
            bad = BadRecordError(f"{sample.shard}, sample {sample.name}: {problem}")
            if on_bad == "stop":
                raise bad
            list_skipped(skipped, str(folder), number, bad)


def open_virtual_people(
    folders: Sequence[Path],
    boxes: Boxes = "labelled",
    cache: Path | None = None,
    clear: Clear = EVERYBODY,
) -> PersonRecords:
    """The people of folders of shards one by one, all their joints labelled.

    Args:
        folders: from ``smap-train synth``.
        boxes: ``labelled`` for those of the labels, about the whole body; ``joints`` for those
            about the joints in the picture, as a first stage gives them on a robot.
        cache: folder of the index of what is in them.
        clear: others are left out.

    Raises:
        InputError: if a folder has no shards, or one of them is damaged.
    """
    files = shard_files(folders)
    name = f"virtual-{boxes}" + (f"-{clear.seen}-{clear.side:g}" if clear != EVERYBODY else "")
    index = open_persons(name, _VERSION, files, lambda: _people(folders, boxes, clear), cache)
    return PersonRecords(index, Path(), MPI15, unit=METRES)


def _people(folders: Sequence[Path], boxes: Boxes, clear: Clear) -> Iterator[PersonRecord]:
    for folder in folders:
        for sample in read_shards(folder):
            place = f"{sample.shard}, sample {sample.name}"
            try:
                people = shown_people(sample)
                records = [
                    _person(sample, person, f"{place}, person {person['id']}", boxes)
                    for person in people
                    if _has_joints(person)
                ]
                wanted = [
                    _is_clear(person, boxes, clear) for person in people if _has_joints(person)
                ]
                yield from compress(with_neighbours(records), wanted)
            except MALFORMED as error:
                yield bad_person(place, f"labels are malformed: {reason(error)}")


def _has_joints(person: Mapping[str, Any]) -> bool:
    """Whether enough of a person is in the picture."""
    return int(np.sum(np.array(person["visibility"]) > 0)) >= _FEWEST_JOINTS


def _is_clear(person: Mapping[str, Any], boxes: Boxes, clear: Clear) -> bool:
    seen = int(np.sum(np.array(person["visibility"]) == _SEEN))
    # A box of NaN is nobody's fault here: the record is named as one that can't be used.
    return seen >= clear.seen and not float(person_box(person, boxes)[2:].max()) < clear.side


def _person(sample: Sample, person: Mapping[str, Any], place: str, boxes: Boxes) -> PersonRecord:
    camera: Mapping[str, float] = sample.labels["camera"]
    joints = np.ones((len(MPI15), PERSON_COLUMNS))
    joints[:, :2], joints[:, 2:5] = person["joints_2d"], person["joints_3d"]
    joints[:, -1] = joints[:, 4] > _NEAREST  # where others are seen says nothing
    box = person_box(person, boxes)
    return PersonRecord(
        image=sample.shard.resolve(), width=int(camera["width"]), height=int(camera["height"]),
        box=box, joints=joints, skeleton=MPI15,
        camera=np.array([camera[k] for k in ("fx", "fy", "cx", "cy")], np.float64),
        offset=sample.offset, size=sample.size, place=place,
    )  # fmt: skip


def person_box(person: Mapping[str, Any], boxes: Boxes) -> NDArray[np.float64]:
    """x, y, width and height of a person's box, pixels."""
    if boxes == "labelled":
        return np.array(person["box"], np.float64)
    joints = np.array(person["joints_2d"], np.float64)
    inside = joints[np.array(person["visibility"]) > 0]
    inside = inside if len(inside) else joints
    low, high = inside.min(axis=0), inside.max(axis=0)
    return np.concatenate([low, high - low + 1])


def shown_people(sample: Sample) -> list[Mapping[str, Any]]:
    """The people of a scene; nobody could find those of whom no pixel shows."""
    return [person for person in sample.labels["people"] if person.get("pixels", 1) > 0]


def _record(sample: Sample, place: str) -> BodiesRecord:
    camera: Mapping[str, float] = sample.labels["camera"]
    people = shown_people(sample)
    bodies = np.zeros((len(people), len(MPI15), COLUMNS))
    for body, person in zip(bodies, people, strict=True):
        points_cm = np.array(person["joints_3d"], np.float64) * _CM
        body[:, [X, Y]] = person["joints_2d"]
        body[:, DEPTH], body[:, CAMERA_X : CAMERA_Z + 1] = points_cm[:, 2], points_cm
        body[:, SEEN] = person["visibility"]
        beside = body[:, CAMERA_Z] <= _NEAREST * _CM  # where such are seen says nothing
        body[np.ix_(beside, (X, Y, SEEN))] = 0
        body[:, FX:] = [camera[name] for name in ("fx", "fy", "cx", "cy")]
    return BodiesRecord(
        image=sample.shard.resolve(), width=int(camera["width"]), height=int(camera["height"]),
        dataset=DATASET, bodies=bodies, offset=sample.offset, size=sample.size, place=place,
    )  # fmt: skip
