"""Records of an index, read when they are asked for; those that can't be used say why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import Skeleton
from smap_train.data.index import Index, Row
from smap_train.engine.sampling import BadRecordError

Record = TypeVar("Record")
Float64 = NDArray[np.float64]

_WHOLE_NUMBERS = ("offset", "size", "width", "height")


class Unit(NamedTuple):
    """A unit of length: its name, and how many of it a metre has."""

    name: str
    of_a_metre: float


METRES, CENTIMETRES = Unit("metres", 1), Unit("centimetres", 100)
MILLIMETRES = Unit("millimetres", 1000)


@dataclass(frozen=True)
class Measured:
    """The labels of some people in units that can be compared; NaN where there are none.

    Attributes:
        record: int64 [P], number in the index of each person's record.
        skeleton: of the joints.
        points: float64 [P, J, 3], metres; in camera coordinates where there is a camera.
        pixels: float64 [P, J, 2].
        camera: float64 [P, 4]: fx, fy, cx, cy, pixels.
        depth: float64 [P, J], metres, where a layout states depths apart from the points.
        box: float64 [P, 4], corners, pixels.
        unit: of the file.
    """

    record: NDArray[np.int64]
    skeleton: Skeleton
    points: Float64
    pixels: Float64
    camera: Float64
    depth: Float64
    box: Float64
    unit: Unit = METRES

    @classmethod
    def of(
        cls, record: NDArray[np.int64], skeleton: Skeleton, points: Float64, **known: Any
    ) -> Measured:
        """Of what is known."""
        people, joints = points.shape[:2]
        shapes = {
            "pixels": (people, joints, 2), "camera": (people, 4), "depth": (people, joints),
            "box": (people, 4),
        }  # fmt: skip
        unknown = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
        return cls(record, skeleton, points, **{**unknown, **known})


class IndexedRecords(ABC, Generic[Record]):
    """The records of an index, or some of them.

    Args:
        index: its columns ``place`` (how messages call a record) and ``problem`` (why it can't be
            used; empty if it can) count here, the others are the layout's.
        numbers: of the records that are taken; all if None.
    """

    def __init__(self, index: Index, numbers: NDArray[np.integer] | None = None) -> None:
        self.index = index
        self.numbers = np.arange(len(index)) if numbers is None else numbers

    @abstractmethod
    def made(self, row: Row) -> Record:
        """The record of a row without problem."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Record:
        """A record.

        Raises:
            BadRecordError: if it can't be used, naming file, record and field.
            IndexError: if there is none of that number.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        return self.record(int(self.numbers[number]))

    def record(self, number: int) -> Record:
        """A record by its number in the index.

        Raises:
            BadRecordError: if it can't be used, naming file, record and field.
        """
        row: dict[str, Any] = self.index[number]
        if problem := row.pop("problem"):
            raise BadRecordError(f"{row['place']}: {problem}")
        for name in _WHOLE_NUMBERS:
            if name in row:
                row[name] = int(row[name])
        return self.made(row)

    def measured(self, low: int, high: int) -> Measured | None:
        """The labels of the people of the records from ``low`` up to ``high`` of the index.

        None where the layout has none that could be judged.
        """
        return None

    def bad(self) -> NDArray[np.integer]:
        """Numbers in the index of the records that can't be used."""
        return self.numbers[self.index.sizes("problem")[self.numbers] > 0]

    def problems(self) -> Iterator[str]:
        """What is wrong with each record that can't be used."""
        for number in self.bad():
            row = self.index[int(number)]
            yield f"{row['place']}: {row['problem']}"
