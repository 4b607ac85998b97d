"""Data sets of any layout as SMAP's unified JSON, and what that holds as our shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Y,
    CAMERA_Z,
    COCO,
    COLUMNS,
    DEPTH,
    FX,
    SEEN,
    BodiesRecord,
    Float64,
    X,
    Y,
)
from smap_train.data.layouts.people import PeopleData
from smap_train.data.layouts.persons import PersonRecord, PictureRecords
from smap_train.data.layouts.virtual import open_virtual
from smap_train.data.records import CENTIMETRES
from smap_train.engine.sampling import BadRecordError
from smap_train.files import whole_file

# layout -> what SMAP's file calls the data set; the others, and pictures of people whose depths
# aren't known, follow COCO's rules.
DATASETS = {
    "muco": "MuCo", "mupots": "MuCo", "mpi_inf_3dhp": "MuCo", "panoptic": "CMUP", "h36m": "H36M",
    "3dpw": "H36M",
}  # fmt: skip
SHARD_SIZE = 250  # pictures
_QUALITY = 95
_VISIBLE = 2

Bad = Callable[[BadRecordError], object]


def stop_at(error: BadRecordError) -> None:
    """What a record that can't be used does unless something else is asked for."""
    raise error


def bodies_of(data: PeopleData, *, validation: bool = False, bad: Bad = stop_at) -> Iterator[Any]:
    """The pictures of a data set with SMAP's 15 joints of their people.

    Labelled joints in the picture count as visible, those outside of it as unlabelled. Without a
    camera the focal length is the picture's width. Paths stay relative to the data set's folder.

    Args:
        data: the data set.
        validation: mark the records as held out.
        bad: is told of records that can't be used.

    Raises:
        InputError: if the labels can't be read.
    """
    pictures: PictureRecords = data.open_pictures()
    named = DATASETS.get(data.layout, COCO)
    for number in range(len(pictures)):
        try:
            people = pictures[number]
        except BadRecordError as error:
            bad(error)
            continue
        first = people[0]
        dataset = named if any(person.has_depth for person in people) else COCO
        yield BodiesRecord(
            first.image.relative_to(data.images), first.width, first.height, dataset,
            np.array([_body(person) for person in people]), int(validation), place=first.place,
        )  # fmt: skip


def _body(record: PersonRecord) -> Float64:
    """15 x 11 numbers of one person."""
    person = record.person(MPI15)
    body = np.zeros((len(MPI15), COLUMNS))
    inside = ((person.pixels >= 0) & (person.pixels < (record.width, record.height))).all(axis=1)
    body[:, [X, Y]] = person.pixels
    body[:, SEEN] = np.where(person.known & inside, _VISIBLE, 0)
    placed = person.placed
    body[placed, CAMERA_X : CAMERA_Z + 1] = person.points[placed] * CENTIMETRES.of_a_metre
    body[:, DEPTH] = body[:, CAMERA_Z]
    camera = record.camera
    if not camera[0] > 0:
        camera = np.array([record.width, record.width, record.width / 2, record.height / 2])
    body[:, FX:] = camera
    return body


def unpacked(
    shards: Path,
    pictures: Path,
    base: Path,
    *,
    every: int = 1,
    validation: bool = False,
    bad: Bad = stop_at,
) -> Iterator[Any]:
    """The scenes of shards with somebody in them; their pictures become files of their own.

    Args:
        shards: folder of shards, or one of them.
        pictures: folder to write the pictures into.
        base: folder that the records' paths are relative to.
        every: take every n-th scene, those without anybody counted.
        validation: mark the records as held out.
        bad: is told of records that can't be used.

    Raises:
        InputError: if a shard is damaged, or a picture can't be written.
    """
    records = open_virtual([shards])
    for number in range(0, len(records), every):
        try:
            record = records[number]
        except BadRecordError as error:
            bad(error)
            continue
        if len(record.bodies) == 0:
            continue
        path = pictures / f"{record.image.stem}_{number:06d}.jpg"
        with record.image.open("rb") as file, whole_file(path, "picture") as out:
            file.seek(record.offset)
            out.write(file.read(record.size))
        relative = Path(os.path.relpath(path, base))
        yield replace(
            record, image=relative, dataset="MuCo", offset=0, size=0, validation=int(validation)
        )


def write_shards(records: Iterable[BodiesRecord], out: Path, bad: Bad = stop_at) -> tuple[int, int]:
    """Pictures and bodies as shards that `smap-train fit` and `evaluate` read.

    Args:
        records: with positions of all joints.
        out: folder to write; it must not have shards yet.
        bad: is told of records that can't be used.

    Returns:
        How many pictures, and shards.

    Raises:
        InputError: if the folder has shards, or can't be written.
    """
    if any(out.glob("*.tar")):
        raise InputError(f"{out} has shards already; choose another folder, or empty this one")
    count, files = 0, []
    for record in records:
        try:
            files += _files(record, count)
        except BadRecordError as error:
            bad(error)
            continue
        count += 1
        if count % SHARD_SIZE == 0:
            _write_tar(out / f"shard-{count // SHARD_SIZE - 1:05d}.tar", files)
            files = []
    if files:
        _write_tar(out / f"shard-{count // SHARD_SIZE:05d}.tar", files)
    if count == 0:
        raise InputError(f"nothing to write into {out}: no record can be used")
    return count, -(-count // SHARD_SIZE)


def _files(record: BodiesRecord, number: int) -> list[tuple[str, bytes]]:
    """Picture and labels of a record.

    Raises:
        BadRecordError: if a joint has no position, or the picture can't be read.
    """
    placed = record.bodies[..., CAMERA_X : CAMERA_Z + 1].any(axis=-1)
    if not placed.all():
        person, joint = np.argwhere(~placed)[0]
        raise BadRecordError(
            f"{record.place}: bodys[{person}][{joint}] has no position in space; shards have "
            "those of all joints"
        )
    image = cv2.imencode(".jpg", record.read(), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    size = (record.width, record.height)
    people = [_person(body, k, size) for k, body in enumerate(record.bodies)]
    camera = dict(zip(("fx", "fy", "cx", "cy"), record.bodies[0, 0, FX:].tolist(), strict=True))
    labels = {
        "camera": {**camera, "width": record.width, "height": record.height}, "people": people,
        "source": record.place,
    }  # fmt: skip
    stem = f"{number:06d}"
    return [
        (f"{stem}.jpg", image.tobytes()),
        (f"{stem}.json", json.dumps(labels, separators=(",", ":")).encode()),
    ]


def _person(body: Float64, number: int, size: tuple[int, int]) -> dict[str, Any]:
    box = _box(body, size)
    points = body[:, [CAMERA_X, CAMERA_Y, CAMERA_Z]] / CENTIMETRES.of_a_metre
    return {
        "id": number, "joints_3d": points.tolist(), "joints_2d": body[:, [X, Y]].tolist(),
        "visibility": body[:, SEEN].astype(int).tolist(), "box": box.tolist(),
    }  # fmt: skip


def _box(body: Float64, size: tuple[int, int]) -> Float64:
    """x, y, width and height about a person's known joints, clipped to the picture as synth's.

    Joints beside the picture count, to whose border the body reaches then; those beside the
    camera don't, whose pixels are told as (0, 0).
    """
    pixels = body[:, [X, Y]]
    known = (body[:, SEEN] > 0) | (pixels.any(axis=1) & (body[:, CAMERA_Z] > 0))
    pixels = np.clip(pixels[known] if known.any() else pixels, 0, np.array(size) - 1)
    low = pixels.min(axis=0)
    return np.concatenate([low, pixels.max(axis=0) - low])


def _write_tar(path: Path, files: list[tuple[str, bytes]]) -> None:
    with whole_file(path, "shard") as out, tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
