"""People one by one, each with the picture they are in: what networks that see crops learn from.

Joints are those of the data set itself, as rows of :data:`COLUMN_NAMES`; recipes bring them to
their own joint set, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import reason
from smap_ros.estimators.persons.crops import Crop, crop_around
from smap_ros.skeletons import MPI15, Skeleton, convert
from smap_train.data.index import TEXT, Index, Row, fixed, open_index, ragged
from smap_train.data.layouts.coco_form import MALFORMED, One, Picture
from smap_train.data.layouts.pictures import read_picture
from smap_train.data.records import MILLIMETRES, IndexedRecords, Measured, Unit

Float64 = NDArray[np.float64]

U, V, CAMERA_X, CAMERA_Y, CAMERA_Z, SEEN = range(6)
COLUMNS = 6
COLUMN_NAMES = ("x (px)", "y (px)", "X (m)", "Y (m)", "Z (m)", "labelled")
# Of a fitted SMPL body: pose (axis-angle, radians), shape, translation (m), and the rotation and
# translation (m) that bring it from its own world to the camera.
FIT = 72 + 10 + 3 + 9 + 3

_MOST_M = 100.0
_MOST_FIT = 1000.0
_NEAR = 0.1  # overlap from which on people are near
_MOST_PX = 100_000.0

SCHEMA = {
    "image": TEXT,
    "picture": fixed("<i8"),  # its number; people of one follow each other
    "offset": fixed("<i8"),  # of the encoded picture in its file, bytes
    "size": fixed("<i8"),  # bytes; 0: the whole file
    "width": fixed("<i4"),
    "height": fixed("<i4"),
    "box": fixed("<f8", 4),
    "camera": fixed("<f8", 4),
    "joints": ragged("<f8", COLUMNS),
    "has_depth": fixed("<i4"),
    "fit": ragged("<f8", FIT),  # one row, or none
    "others": ragged("<f8", 3),  # of all near people, one after the other
    "place": TEXT,  # how messages call the record
    "problem": TEXT,  # why it can't be used; empty if it can
}


def _no_rows(columns: int) -> Float64:
    return np.zeros((0, columns))


@dataclass(frozen=True)
class Person:
    """A person in the joint set that a network learns.

    Attributes:
        pixels: float64 [J, 2], pixels of the picture; 0 where unknown.
        points: float64 [J, 3], metres, camera coordinates; 0 where unknown.
        known: bool [J], whether the pixels are labelled.
        placed: bool [J], whether the points are.
    """

    pixels: Float64
    points: Float64
    known: NDArray[np.bool_]
    placed: NDArray[np.bool_]


@dataclass(frozen=True)
class PersonRecord:
    """A person in a picture.

    Attributes:
        image: the picture, or the file that it lies in; relative to its data set's folder.
        width, height: of the picture, pixels.
        box: x, y, width and height, pixels.
        joints: float64 [J, 6], see :data:`COLUMN_NAMES`; the last one 1 or 0.
        skeleton: joint set of the data set.
        has_depth: whether the joints' positions in metres are known.
        camera: fx, fy, cx, cy, pixels; zeros where unknown.
        fit: float64 [0 or 1, 97]: an SMPL body that was fitted to the person, see :data:`FIT`.
        others: float64 [N * J, 3]: x, y and labelled of the joints of people nearby.
        offset, size: bytes of the picture in its file; size 0 means the whole file.
        place: file and number of the record, for messages.
        problem: why it can't be used; empty if it can.
    """

    image: Path
    width: int
    height: int
    box: Float64
    joints: Float64
    skeleton: Skeleton
    has_depth: bool = True
    camera: Float64 = field(default_factory=lambda: np.zeros(4))
    fit: Float64 = field(default_factory=lambda: _no_rows(FIT))
    others: Float64 = field(default_factory=lambda: _no_rows(3))
    offset: int = 0
    size: int = 0
    place: str = ""
    problem: str = ""

    def read(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            BadRecordError: if it is missing, damaged, or of another size than stated.
        """
        size = (self.width, self.height)
        return read_picture(self.image, size, self.place, self.offset, self.size)

    def person(self, target: Skeleton) -> Person:
        """The person in another joint set, by name; necks and pelvises as midpoints.

        Sets without a thorax call the point between the shoulders neck.
        """
        own = self.joints.copy()
        own[own[:, SEEN] == 0, :SEEN] = np.nan
        names = self.skeleton.joints
        if {"thorax", "neck"} <= set(names) and "thorax" not in target.joints:
            own[names.index("neck")] = own[names.index("thorax")]
        moved = convert(own, self.skeleton, target)
        pixels, points = moved[:, [U, V]], moved[:, CAMERA_X : CAMERA_Z + 1]
        known = np.isfinite(pixels).all(axis=1)
        placed = np.isfinite(points).all(axis=1) & self.has_depth
        return Person(np.nan_to_num(pixels), np.nan_to_num(points), known, placed)

    def neighbours(self, target: Skeleton) -> Float64:
        """The people nearby in another joint set, float64 [N, J, 3]: x, y, labelled."""
        own = self.others.reshape(-1, len(self.skeleton), 3).copy()
        own[own[..., 2] == 0] = np.nan
        moved = convert(own, self.skeleton, target)
        moved[..., 2] = np.isfinite(moved[..., 0])
        return np.nan_to_num(moved)

    def row(self) -> dict[str, Any]:
        """As the index has it."""
        return {**vars(self), "image": str(self.image)}


def bad_person(place: str, problem: str, image: Path = Path()) -> PersonRecord:
    """A record that can't be used; of a picture, which can't be used as a whole then."""
    nobody = _no_rows(COLUMNS)
    return PersonRecord(image, 0, 0, np.zeros(4), nobody, MPI15, place=place, problem=problem)


class PersonRecords(IndexedRecords[PersonRecord]):
    """The people of an index.

    Args:
        index: with :data:`SCHEMA`.
        folder: that the pictures' paths are relative to.
        skeleton: joint set of the data set.
        keep: numbers of the records that are taken; all if None.
        unit: of the joints' positions in the file.
        pinhole: whether the pixels are those of a camera without distortion.
    """

    def __init__(
        self,
        index: Index,
        folder: Path,
        skeleton: Skeleton,
        keep: NDArray[np.integer] | None = None,
        unit: Unit = MILLIMETRES,
        *,
        pinhole: bool = True,
    ) -> None:
        super().__init__(index, keep)
        self.folder, self.skeleton, self.unit, self.pinhole = folder, skeleton, unit, pinhole

    def made(self, row: Row) -> PersonRecord:
        """The record of a row."""
        changed = {
            "image": self.folder / row["image"], "has_depth": bool(row["has_depth"]),
            "skeleton": self.skeleton,
        }  # fmt: skip
        own = {name: value for name, value in row.items() if name != "picture"}
        return PersonRecord(**{**own, **changed})

    def measured(self, low: int, high: int) -> Measured:
        """See :class:`IndexedRecords`."""
        joints, owners = self.index.rows("joints", low, high)
        count = len(self.skeleton)
        joints, owners = joints.reshape(-1, count, COLUMNS), owners[::count]
        seen = joints[..., SEEN] > 0
        placed = seen & (self.index.column("has_depth")[owners] != 0)[:, None]
        box = np.array(self.index.column("box")[owners])
        camera = np.array(self.index.column("camera")[owners])
        return Measured.of(
            owners, self.skeleton,
            np.where(placed[..., None], joints[..., CAMERA_X : CAMERA_Z + 1], np.nan),
            pixels=np.where(seen[..., None], joints[..., [U, V]], np.nan),
            camera=np.where(self.pinhole & (camera[:, :1] > 0), camera, np.nan),
            box=np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1),
            unit=self.unit,
        )  # fmt: skip


class PictureRecords:
    """The pictures of an index, each with all of its people.

    Args:
        people: of the index, whichever of them are taken.
        every: take every n-th picture.
    """

    def __init__(self, people: PersonRecords, every: int = 1) -> None:
        self.people = people
        pictures = np.asarray(people.index.column("picture"))
        starts = np.flatnonzero(np.diff(pictures, prepend=-1))
        self.starts = starts[::every]
        self.ends = np.append(starts[1:], len(pictures))[::every]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> list[PersonRecord]:
        """The people of a picture.

        Raises:
            BadRecordError: if one of them can't be used, naming file, record and field.
            IndexError: if there is none of that number.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"picture {number} of {len(self)}")
        return [self.people.record(k) for k in range(self.starts[number], self.ends[number])]


def open_persons(
    layout: str,
    version: int,
    sources: Sequence[Path],
    records: Callable[[], Iterable[PersonRecord]],
    cache: Path | None = None,
) -> Index:
    """The index of a layout's people, built from its records at the first time.

    Raises:
        InputError: if a source can't be read.
    """
    return open_index(
        f"{layout}-people", version, sources, SCHEMA, lambda: checked(records()), cache
    )


def checked(records: Iterable[PersonRecord]) -> Iterator[dict[str, Any]]:
    """Rows of the records, with what is wrong with them.

    People whose box has no side of two pixels inside of the picture are left out, as officially.
    """
    number, last = -1, None
    for record in records:
        if (record.image, record.offset) != last:
            number, last = number + 1, (record.image, record.offset)
        problem = record.problem or check_person(record)
        if problem:  # its numbers may not even fit the columns
            yield {**bad_person(record.place, problem, record.image).row(), "picture": number}
        elif box_crop(record, 1) is not None:
            yield {**record.row(), "picture": number}


def box_crop(record: PersonRecord, size: int, margin: float = 1.0) -> Crop | None:
    """The square about a record's box, as :func:`crop_around` has it; None if it shows nobody."""
    x, y, width, height = record.box
    corners = np.array([[x, y], [x + width - 1, y + height - 1]])
    border = np.array([record.width, record.height]) - 1.0
    if not (width > 0 and height > 0 and (corners[0] <= border).all() and (corners[1] >= 0).all()):
        return None
    return crop_around(corners, (record.width, record.height), margin, size)


def joint_set(name: str, joints: str, root: str) -> Skeleton:
    """A data set's own joints, whose names are divided by spaces, without limbs."""
    names = tuple(joints.split())
    return Skeleton(name, names, (), names.index(root))


def box_around(pixels: Float64, margin: float = 1.2) -> Float64:
    """x, y, width and height of a box about joints [N, 2], of data sets that have none.

    Args:
        pixels: of a person's joints.
        margin: sides over the extent of the joints.
    """
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    sides = np.maximum((high - low) * margin, 1)
    return np.concatenate([(low + high - sides) / 2, sides])


def persons_of(
    picture: Picture[One],
    number: Callable[[One], object],
    make: Callable[[One, dict[str, Any], str], PersonRecord | None],
) -> list[PersonRecord]:
    """The people of a picture in their order, with their neighbours; bad ones as bad records.

    Args:
        picture: as read; annotations that couldn't be read are not among its people.
        number: of an annotation, for messages.
        make: the record of an annotation, given the picture's entry and how messages call it;
            None leaves somebody out.
    """
    records = []
    for annotation in picture.people:
        place = f"{picture.place}, annotation {number(annotation)}"
        try:
            record = make(annotation, picture.image, place)
        except MALFORMED as error:
            record = bad_person(place, f"is malformed: {reason(error)}", picture.file)
        if record is not None:
            records.append(record)
    return with_neighbours(records)


def with_neighbours(people: Sequence[PersonRecord]) -> list[PersonRecord]:
    """The people of one picture, each with the joints of those whose extents overlap theirs."""
    corners = [_extent(person) for person in people]
    made = []
    for k, person in enumerate(people):
        near = [
            other.joints[:, [U, V, SEEN]]
            for j, other in enumerate(people)
            if j != k and _overlap(corners[k], corners[j]) >= _NEAR
        ]
        made.append(replace(person, others=np.concatenate(near)) if near else person)
    return made


def _extent(person: PersonRecord) -> Float64:
    """Corners [2, 2] of the labelled joints."""
    points = person.joints[person.joints[:, SEEN] > 0][:, [U, V]]
    return np.array([points.min(0), points.max(0)]) if len(points) else np.zeros((2, 2))


def _overlap(one: Float64, other: Float64) -> float:
    """Intersection over union of two boxes, each as corners [2, 2]."""
    shared = np.clip(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]), 0, None).prod()
    whole = np.prod(one[1] - one[0]) + np.prod(other[1] - other[0]) - shared
    return float(shared / whole) if whole > 0 else 0.0


def check_person(record: PersonRecord) -> str:
    """What is wrong with a record's numbers, naming the first wrong one; or nothing."""
    for name, value in (("width", record.width), ("height", record.height)):
        if type(value) is not int or not 0 < value < 2**31:
            return f"{name} is {value!r}; expected a whole number of pixels, 1 or more"
    if record.camera.shape != (4,) or not (np.abs(record.camera) <= _MOST_PX).all():
        return f"its camera is {record.camera.tolist()}; expected fx, fy, cx, cy in pixels"
    limits = np.array([_MOST_PX, _MOST_PX, _MOST_M, _MOST_M, _MOST_M, 1.0])
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(record.joints) <= limits)
    wrong[record.joints[:, SEEN] == 0, :SEEN] = False
    if not record.has_depth:
        wrong[:, CAMERA_X : CAMERA_Z + 1] = False
    if record.has_depth:
        behind = (record.joints[:, SEEN] > 0) & ~(record.joints[:, CAMERA_Z] > 0)
        wrong[:, CAMERA_Z] |= behind
    if wrong.any():
        joint, column = (int(k) for k in np.argwhere(wrong)[0])
        return (
            f"joint {joint}, {COLUMN_NAMES[column]}, is {record.joints[joint, column]:g}; expected "
            f"a number within {limits[column]:g} of 0, and in front of the camera"
        )
    if not (record.box.shape == (4,) and (np.abs(record.box) <= _MOST_PX).all()):
        return f"bbox is {record.box.tolist()}; expected x, y, width and height in pixels"
    if not (np.abs(record.fit) <= _MOST_FIT).all():
        row, column = np.argwhere(~(np.abs(record.fit) <= _MOST_FIT))[0]
        return (
            f"number {column} of its SMPL parameters is {record.fit[row, column]:g}; expected one "
            f"within {_MOST_FIT:g} of 0"
        )
    return ""
