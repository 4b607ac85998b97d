"""Pictures with SMAP's bodies: what its unified JSON holds, and what other sources become.

A body is 15 joints (mpi15) of 11 numbers: x, y (pixels of the picture), Z (cm), visibility
(0 not labelled, 1 hidden, 2 visible), X, Y, Z (cm, camera coordinates), fx, fy, cx, cy (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.index import TEXT, Index, Row, fixed, ragged
from smap_train.data.layouts.pictures import read_picture
from smap_train.data.records import CENTIMETRES, IndexedRecords, Measured

Float64 = NDArray[np.float64]

X, Y, DEPTH, SEEN, CAMERA_X, CAMERA_Y, CAMERA_Z, FX, FY, CX, CY = range(11)
COLUMNS = 11
COLUMN_NAMES = ("x", "y", "Z", "v", "X", "Y", "Z (camera)", "fx", "fy", "cx", "cy")
COCO = "COCO"  # pictures without depths; the one data set with rules of its own

MOST_ROOT_DEPTH_CM = 2000.0  # median of a whole file; people 20 m away on average are in mm
_MOST_CM = 10_000.0  # of one coordinate
MOST_PX = 100_000.0

SCHEMA = {
    "image": TEXT,
    "offset": fixed("<i8"),  # of the encoded picture in its file, bytes
    "size": fixed("<i8"),  # bytes; 0: the whole file
    "width": fixed("<i4"),
    "height": fixed("<i4"),
    "dataset": TEXT,
    "validation": fixed("<i4"),
    "bodies": ragged("<f8", len(MPI15), COLUMNS),
    "place": TEXT,  # how messages call the record
    "problem": TEXT,  # why it can't be used; empty if it can
}


@dataclass(frozen=True)
class BodiesRecord:
    """A picture and its people.

    Attributes:
        image: the picture, or the file that it lies in; relative to its data set's folder.
        width, height: of the picture, pixels.
        dataset: upper-case name; COCO has rules of its own.
        bodies: float64 [N, 15, 11], see the module.
        validation: not 0 for records that aren't trained on.
        offset, size: bytes of the picture in its file; size 0 means the whole file.
        place: file and number of the record, for messages.
    """

    image: Path
    width: int
    height: int
    dataset: str
    bodies: Float64
    validation: int = 0
    offset: int = 0
    size: int = 0
    place: str = ""

    def read(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            BadRecordError: if it is missing, damaged, or of another size than stated.
        """
        return read_picture(
            self.image, (self.width, self.height), self.place, self.offset, self.size
        )

    def row(self, problem: str = "") -> dict[str, Any]:
        """As the index has it."""
        return {
            "image": str(self.image), "offset": self.offset, "size": self.size,
            "width": self.width, "height": self.height, "dataset": self.dataset,
            "validation": self.validation, "bodies": self.bodies, "place": self.place,
            "problem": problem,
        }  # fmt: skip


def bad_row(place: str, problem: str, validation: int = 0) -> dict[str, Any]:
    """A record that can't be used, as the index has it."""
    nobody = np.zeros((0, len(MPI15), COLUMNS))
    return BodiesRecord(Path(), 0, 0, "", nobody, validation, place=place).row(problem)


class BodiesRecords(IndexedRecords[BodiesRecord]):
    """The records of an index that are trained on, or those that are not.

    Args:
        index: with :data:`SCHEMA`.
        folder: that the pictures' paths are relative to.
        validation: take the held-out records instead; None for both.
    """

    def __init__(self, index: Index, folder: Path, *, validation: bool | None = False) -> None:
        kept = (index.column("validation") != 0) == validation
        super().__init__(index, None if validation is None else np.flatnonzero(kept))
        self.folder = folder

    def made(self, row: Row) -> BodiesRecord:
        """The record of a row."""
        changed = {"image": self.folder / row["image"], "validation": int(row["validation"])}
        return BodiesRecord(**{**row, **changed})

    def measured(self, low: int, high: int) -> Measured:
        """See :class:`IndexedRecords`."""
        bodies, owners = self.index.rows("bodies", low, high)
        seen = bodies[..., SEEN] > 0
        placed = seen & bodies[..., CAMERA_X : CAMERA_Z + 1].any(axis=-1)  # all 0: not labelled
        points = np.where(placed[..., None], bodies[..., CAMERA_X : CAMERA_Z + 1], np.nan)
        depth = np.where(seen & (bodies[..., DEPTH] != 0), bodies[..., DEPTH], np.nan)
        return Measured.of(
            owners, MPI15, points / CENTIMETRES.of_a_metre, unit=CENTIMETRES,
            pixels=np.where(seen[..., None], bodies[..., [X, Y]], np.nan),
            camera=bodies[:, MPI15.root, FX:], depth=depth / CENTIMETRES.of_a_metre,
        )  # fmt: skip


def check_bodies(bodies: Float64, dataset: str) -> str:
    """What is wrong with the people of one picture, naming the first wrong number; or nothing.

    Args:
        bodies: float64 [N, 15, 11].
        dataset: upper-case name; COCO has no depths.
    """
    limits = np.full(COLUMNS, _MOST_CM)
    limits[[X, Y, FX, FY, CX, CY]] = MOST_PX
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(bodies) <= limits)  # NaN as well
        wrong[..., SEEN] = ~np.isin(bodies[..., SEEN], (0, 1, 2))
        wrong[..., [FX, FY]] |= ~(bodies[..., [FX, FY]] > 0)
        if dataset != COCO:
            behind = (bodies[..., SEEN] > 0) & ~(bodies[..., DEPTH] >= 0)
            wrong[..., DEPTH] |= behind
    if not wrong.any():
        return ""
    person, joint, column = (int(k) for k in np.argwhere(wrong)[0])
    expected = {
        SEEN: "0, 1 or 2",
        FX: "a positive number of pixels",
        FY: "a positive number of pixels",
        DEPTH: f"0 to {_MOST_CM:.0f} cm",
    }.get(column, f"a number within {limits[column]:.0f} of 0")
    return (
        f"bodys[{person}][{joint}][{column}], {COLUMN_NAMES[column]} of "
        f"{MPI15.joints[joint]}, is {bodies[person, joint, column]:g}; expected {expected}"
    )


def refuse_millimetres(depths: Float64, name: str) -> None:
    """Refuse a data set whose people are too far away to be in centimetres.

    Raises:
        InputError: if the median of the roots' depths, where they are labelled, is beyond 2,000.
    """
    depths = depths[depths > 0]
    if len(depths) and (median := float(np.median(depths))) > MOST_ROOT_DEPTH_CM:
        raise InputError(
            f"{name}: the median depth of the pelvises is {median:,.0f}; expected centimetres, "
            f"below {MOST_ROOT_DEPTH_CM:,.0f}. Are they millimetres? Divide X, Y and Z by 10"
        )
