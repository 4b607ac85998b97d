"""Which samples a run sees: mixed from sources, the same on one device or many, resumed or not.

Sample k of a run is a function of (seed, k). A step takes ``batch_size`` consecutive samples, and
each device its share of them, so the number of devices changes nothing but rounding.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from torch.utils.data import Dataset, Sampler

from smap_ros.errors import InputError

LOG = logging.getLogger(__name__)

Record = TypeVar("Record")
Sample = Any

SKIPPED = "skipped.jsonl"  # of a run: the records that it left out
_MOST_BAD = 100  # records in a row: then the data as a whole are wrong
_BLOCK = 4096  # samples that hold every source by its weight
_BLOCKS, _PASSES = 0x5EED, 0x5EEE  # tell the generators of orders from those of samples


class BadRecordError(InputError):
    """A record that can't be used. The message names its file, its number and the field."""


class Records(Protocol[Record]):
    """Records of a data set, read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


@dataclass(frozen=True)
class Source(Generic[Record]):
    """Records, how often they are drawn, and what becomes of one.

    Attributes:
        name: for messages.
        records: of a data set; may be longer than memory.
        make: a sample of a record and a random generator, which alone decides on chance.
        weight: share of this source among all, relative to the others'. None: by its number of
            records; sources without weights are shuffled as one list.
    """

    name: str
    records: Sequence[Record] | Records[Record]
    make: Callable[[Record, np.random.Generator], Sample]
    weight: float | None = None

    def __post_init__(self) -> None:
        if len(self.records) == 0:
            raise InputError(f"source {self.name} has no records; check its paths and filters")


def in_share(sources: Sequence[Source[Any]], share: float | None) -> list[Source[Any]]:
    """Sources that have a share of the samples together, each by its number of records.

    Args:
        share: relative to that of other groups. None: by the number of records there, too.
    """
    total = sum(len(source.records) for source in sources)
    return [
        replace(s, weight=None if share is None else share * len(s.records) / total)
        for s in sources
    ]


class Mixture(Dataset[Sample]):
    """Samples of several sources, deterministic in (seed, index).

    Every block of samples holds each source as often as its weight says, in a random order; a
    source's records are gone through in an order drawn anew for each pass, so that none comes
    twice before all came once.

    Args:
        sources: at least one.
        length: samples of the whole run.
        seed: of the run.
        on_bad: what a :class:`BadRecordError` does: ``stop`` ends the run, ``skip`` takes another.
        skipped: file that lists the skipped ones, a JSON object a line; with ``skip`` only.
    """

    def __init__(
        self,
        sources: Sequence[Source[Any]],
        length: int,
        seed: int,
        on_bad: Literal["stop", "skip"] = "stop",
        skipped: Path | None = None,
    ) -> None:
        if not sources:
            raise InputError("no training data: the configuration names no source")
        self.length, self.seed = length, seed
        self.on_bad, self.skipped = on_bad, skipped
        together = [source for source in sources if source.weight is None]
        self.groups = [[source] for source in sources if source.weight is not None]
        self.groups += [together] if together else []
        weights = [s.weight for s in sources if s.weight is not None]
        weights += [float(sum(len(s.records) for s in together))] if together else []
        self.counts = _counts(np.array(weights, np.float64), _BLOCK)
        self._block: tuple[int, np.ndarray, np.ndarray] | None = None
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, index))
        group, turn = self._turn(index)
        sizes = np.cumsum([len(source.records) for source in self.groups[group]])
        for attempt in range(_MOST_BAD):
            place = self._place(group, turn, int(sizes[-1])) if attempt == 0 else int(
                rng.integers(sizes[-1])
            )  # fmt: skip
            which = int(np.searchsorted(sizes, place, side="right"))
            source = self.groups[group][which]
            record = place - int(sizes[which - 1] if which else 0)
            try:
                return source.make(source.records[record], rng)
            except BadRecordError as error:
                if self.on_bad == "stop":
                    raise BadRecordError(
                        f"{error}; on_bad=skip goes on without such records"
                    ) from error
                list_skipped(self.skipped, source.name, record, error)
        raise InputError(
            f"{_MOST_BAD} bad records in a row, the last in {source.name}; the list of them says "
            "what is wrong: check that the data set is complete and of the layout that is stated"
        )

    def _turn(self, index: int) -> tuple[int, int]:
        """The group of a sample, and how many samples that group gave before."""
        number, place = divmod(index, _BLOCK)
        if self._block is None or self._block[0] != number:
            rng = np.random.default_rng((self.seed, _BLOCKS, number))
            groups = rng.permutation(np.repeat(np.arange(len(self.counts)), self.counts))
            turns = np.empty(_BLOCK, np.int64)
            for group, count in enumerate(self.counts):
                turns[groups == group] = number * count + np.arange(count)
            self._block = (number, groups, turns)
        _, groups, turns = self._block
        return int(groups[place]), int(turns[place])

    def _place(self, group: int, turn: int, size: int) -> int:
        """Which of a group's records has its turn."""
        passes, place = divmod(turn, size)
        if self._orders.get(group, (-1,))[0] != passes:
            rng = np.random.default_rng((self.seed, _PASSES, group, passes))
            self._orders[group] = (passes, rng.permutation(size))
        return int(self._orders[group][1][place])


def list_skipped(path: Path | None, source: str, record: int | str, error: BadRecordError) -> None:
    """Warn of a record that is left out, and add it to the list of them if there is one."""
    LOG.warning("skipped: %s", error)
    if path is None:
        return
    data = (json.dumps({"source": source, "record": record, "error": str(error)}) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write each: processes of several workers and devices append to the same file.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            cut_off = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # by a kill, a full disk
            os.write(handle, b"\n" + data if cut_off else data)
        finally:
            os.close(handle)
    except OSError as problem:
        raise InputError(
            f"can't list a record that is left out in {path}: {problem.strerror or problem}"
        ) from problem


def _counts(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to the total in the proportion of weights; none is 0."""
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise InputError(f"weights of sources are {weights.tolist()}; expected positive numbers")
    exact = weights / weights.sum() * total
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    for k in np.argsort(np.floor(exact) - exact, kind="stable"):
        if counts.sum() >= total:
            break
        counts[k] += 1
    counts[np.argmax(counts)] += total - counts.sum()
    return counts


def skipped_records(path: Path) -> list[dict[str, Any]]:
    """The records that a run left out, each once, in the order they were met.

    What a kill or a full disk has cut off is left out, and told: the list is for people alone.
    """
    if not path.exists():
        return []
    found: dict[tuple[str, str], dict[str, Any]] = {}
    lines = path.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            found[str(told["source"]), str(told["record"])] = told
        except (ValueError, KeyError, TypeError):
            LOG.warning("%s, line %d is cut off or damaged; it is left out", path, number)
    return list(found.values())


@dataclass(frozen=True)
class Share:
    """Which part of each step's samples is whose.

    Attributes:
        batch_size: samples of a step, over all devices.
        rank, world: this device's number, and how many there are.
        accumulate: parts of a step that a device computes one by one.
    """

    batch_size: int
    rank: int = 0
    world: int = 1
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % (self.world * self.accumulate):
            raise InputError(
                f"batch_size is {self.batch_size}, over all devices; expected a multiple of "
                f"{self.world * self.accumulate}: {self.world} devices times accumulate "
                f"{self.accumulate}"
            )

    @property
    def size(self) -> int:
        """Samples of one forward pass on one device."""
        return self.batch_size // (self.world * self.accumulate)


class RunOrder(Sampler[int]):
    """The samples of one device, in the order of the run, from the step where it stopped.

    Lightning goes on at the right batch number but starts the loader anew.
    """

    def __init__(self, share: Share, steps: int, start: int = 0) -> None:
        self.share, self.steps, self.start = share, steps, start

    def __len__(self) -> int:
        return self.steps * self.share.accumulate * self.share.size

    def __iter__(self) -> Iterator[int]:
        share = self.share
        for step in range(self.start, self.steps):
            for part in range(share.accumulate):
                first = (part * share.world + share.rank) * share.size
                yield from range(
                    step * share.batch_size + first, step * share.batch_size + first + share.size
                )
