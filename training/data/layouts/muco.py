"""MuCo-3DHP.json (pictures of people composed of MPI-INF-3DHP): SMAP's bodies, and people.

A file of a gigabyte, in the form of COCO: ``images`` with ``f`` and ``c``, ``annotations`` with
``keypoints_img`` (21 x 2 pixels), ``keypoints_cam`` (21 x 3 millimetres) and ``keypoints_vis``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smap_ros.errors import InputError, reason
from smap_ros.skeletons import MPI15, MUCO21
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Z,
    COLUMNS,
    CX,
    CY,
    DEPTH,
    FX,
    FY,
    SEEN,
    BodiesRecord,
    Float64,
    X,
    Y,
)
from smap_train.data.layouts.coco_form import MALFORMED, pictures
from smap_train.data.layouts.fits import Fits, read_fits
from smap_train.data.layouts.persons import (
    PersonRecord,
    PersonRecords,
    bad_person,
    open_persons,
    persons_of,
)

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

DATASET = "MuCo"
JOINTS = 21
# Which of its 21 joints each of mpi15 is, and the two behind them that VirtualPose has as well.
_ORDER = (1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10)
MPI17_ROWS = [*_ORDER, MUCO21.index("spine"), MUCO21.index("head")]
_MM_PER_CM, _MM_PER_M = 10.0, 1000.0
_APART_MM = 500.0
_VERSION = 3  # of what becomes of single people


def read_muco(path: Path, folder: str = "") -> Iterator[BodiesRecord]:
    """The pictures with somebody in them, in the order of the file.

    Visibility is 2 where ``keypoints_vis`` says so, 1 elsewhere, for hidden joints are labelled as
    well, and 0 outside of the picture. How the authors made it of the file isn't known.

    Args:
        path: of MuCo-3DHP.json.
        folder: of the pictures below the data set's; goes before their names.

    Raises:
        InputError: if the file can't be read, or a record is malformed, naming it.
    """
    for picture in pictures(path, joints_of):
        if picture.bad:
            raise InputError(" ".join(picture.bad[0]))
        image = picture.image
        try:
            bodies = _bodies([own[list(_ORDER)] for own in picture.people], image)
            if len(bodies):
                yield BodiesRecord(
                    Path(folder) / image["file_name"], image["width"], image["height"], DATASET,
                    bodies, place=picture.place,
                )  # fmt: skip
        except MALFORMED as error:
            raise InputError(f"{picture.place} is malformed: {reason(error)}") from error


def open_people(data: PeopleData) -> PersonRecords:
    """Of each picture the person closest to the camera, and all who stand half a metre apart.

    Apart in x and y as well as in space, pelvis from pelvis, as MobileHumanPose takes them. All
    joints count as labelled.
    """
    path = data.annotations
    index = open_persons(
        "muco", _VERSION, data.files(), lambda: _people(path, read_fits(data.fits), everybody=False)
    )
    return PersonRecords(index, data.images, MUCO21, np.arange(0, len(index), data.every))


def open_everybody(data: PeopleData) -> PersonRecords:
    """All people, as those who see whole pictures take them."""
    path = data.annotations
    index = open_persons(
        "muco-all",
        _VERSION,
        data.files(),
        lambda: _people(path, read_fits(data.fits), everybody=True),
    )
    return PersonRecords(index, data.images, MUCO21, np.arange(0, len(index), data.every))


def _people(path: Path, fits: Fits, *, everybody: bool) -> Iterator[PersonRecord]:
    for picture in pictures(path, lambda entry: (entry["id"], entry["bbox"], joints_of(entry))):
        yield from (bad_person(*one, picture.file) for one in picture.bad)
        people = picture.people
        roots = np.array([joints[MUCO21.root, 2:5] for _, _, joints in people]).reshape(-1, 3)
        chosen = range(len(people)) if everybody else _apart(roots)
        records = persons_of(
            picture,
            lambda person: person[0],
            lambda person, image, place: fits.of(
                person[0], _person(image, person[1], person[2], place)
            ),
        )
        yield from (records[k] for k in chosen)


def _apart(roots_mm: Float64) -> list[int]:
    """The nearest person, and all others who are apart from everybody."""
    if len(roots_mm) == 0:
        return []
    off = roots_mm[:, None] - roots_mm[None]
    distance = np.minimum(np.linalg.norm(off[..., :2], axis=-1), np.linalg.norm(off, axis=-1))
    np.fill_diagonal(distance, np.inf)
    nearest = int(np.argmin(roots_mm[:, 2]))
    return [k for k in range(len(roots_mm)) if k == nearest or distance[k].min() >= _APART_MM]


def _person(image: dict[str, Any], box: Any, joints: Float64, place: str) -> PersonRecord:
    moved = np.column_stack([joints[:, :2], joints[:, 2:5] / _MM_PER_M, np.ones(JOINTS)])
    return PersonRecord(
        Path(image["file_name"]), image["width"], image["height"], np.array(box, np.float64),
        moved, MUCO21, camera=np.array([*image["f"], *image["c"]], np.float64), place=place,
    )  # fmt: skip


def joints_of(entry: dict[str, Any]) -> Float64:
    """x, y (pixels), X, Y, Z (mm), visible of an annotation: float64 [21, 6].

    Raises:
        KeyError, TypeError, ValueError: if it is malformed.
    """
    columns = [
        np.array(entry[name], np.float64).reshape(len(entry[name]), -1)
        for name in ("keypoints_img", "keypoints_cam", "keypoints_vis")
    ]
    shapes = [column.shape for column in columns]
    if shapes != [(JOINTS, 2), (JOINTS, 3), (JOINTS, 1)]:
        raise ValueError(
            f"keypoints_img, keypoints_cam and keypoints_vis have the shapes {shapes}, expected "
            f"{JOINTS} x 2, x 3 and x 1"
        )
    return np.concatenate(columns, axis=1)


def _bodies(people: list[Float64], image: dict[str, Any]) -> Float64:
    bodies = np.zeros((len(people), len(MPI15), COLUMNS))
    for body, own in zip(bodies, people, strict=True):
        body[:, [X, Y]] = own[:, :2]
        body[:, CAMERA_X : CAMERA_Z + 1] = own[:, 2:5] / _MM_PER_CM
        body[:, DEPTH] = body[:, CAMERA_Z]
        size = (image["width"], image["height"])
        inside = ((own[:, :2] >= 0) & (own[:, :2] < size)).all(axis=1)
        body[:, SEEN] = np.where(inside, np.where(own[:, 5] > 0, 2, 1), 0)
        body[:, [FX, FY]], body[:, [CX, CY]] = image["f"], image["c"]
    return bodies
