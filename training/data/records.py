"""Records of an index, read when they are asked for; those that can't be used say why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from smap_train.data.index import Index, Row
from smap_train.engine.sampling import BadRecordError

Record = TypeVar("Record")

_WHOLE_NUMBERS = ("offset", "size", "width", "height")


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

    def bad(self) -> NDArray[np.integer]:
        """Numbers in the index of the records that can't be used."""
        return self.numbers[self.index.sizes("problem")[self.numbers] > 0]

    def problems(self) -> Iterator[str]:
        """What is wrong with each record that can't be used."""
        for number in self.bad():
            row = self.index[int(number)]
            yield f"{row['place']}: {row['problem']}"
