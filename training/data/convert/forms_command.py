"""What `smap-train data convert smap` and `shards` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from smap_ros.errors import InputError
from smap_train.data.convert.forms import bodies_of, stop_at, unpacked, write_shards
from smap_train.data.layouts.known import recognised
from smap_train.data.layouts.people import LAYOUTS, PeopleData
from smap_train.data.layouts.smap_json import open_smap_json, write_smap_json
from smap_train.engine.sampling import BadRecordError, list_skipped


class _Skipped:
    """Counts what is left out, each with a warning."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: BadRecordError) -> None:
        list_skipped(None, "", "", error)
        self.count += 1

    def told(self) -> str:
        return f", {self.count:,} bad records left out" if self.count else ""


def _bad(skip: bool) -> tuple[Callable[[BadRecordError], Any], Callable[[], str]]:
    """What a bad record does, and what to say of them in the end."""
    skipped = _Skipped()
    return (skipped, skipped.told) if skip else (stop_at, lambda: "")


def convert_smap(
    source: Path,
    out: Path,
    layout: str | None,
    every: int,
    pictures: Path | None,
    validation: bool,
    skip_bad: bool,
) -> str:
    """Write SMAP's unified JSON; returns what was done.

    Raises:
        InputError: if the source can't be converted, naming why.
    """
    known = layout or recognised(source)
    bad, told = _bad(skip_bad)
    if known == "shards":
        folder = pictures or out.parent / f"{out.stem}_images"
        records = unpacked(source, folder, out.parent, every=every, validation=validation, bad=bad)
    elif known in LAYOUTS:
        base = source if source.is_dir() else source.parent
        images = Path() if source.suffix == ".json" or known == "h36m" else base
        data = PeopleData(layout=known, annotations=source, images=images, every=every)  # type: ignore[arg-type]
        records = bodies_of(data, validation=validation, bad=bad)
    else:
        readable = ", ".join(["shards", *(name for name in sorted(LAYOUTS) if ":" not in name)])
        raise InputError(f"{source} is of layout {known}; expected one of {readable}")
    count = write_smap_json(out, tqdm(records, unit=" pictures", disable=None))
    return f"{out}: {count:,} pictures{told()}"


def convert_shards(source: Path, out: Path, images: Path, skip_bad: bool, held_out: bool) -> str:
    """Write shards of the records for training, or of those held out; returns what was done.

    Shards have no mark of what is held out, so that only one of the two can be in a folder.

    Raises:
        InputError: if the source can't be converted, naming why.
    """
    bad, told = _bad(skip_bad)
    records = open_smap_json(source, images, validation=held_out)
    others = len(records.index) - len(records)
    way = "without --held-out" if held_out else "with --held-out"
    if not len(records):
        raise InputError(
            f"{source} has no record of isValidation {int(held_out)}, and {others:,} others; "
            f"convert these {way}"
        )

    def usable() -> Any:
        for number in range(len(records)):
            try:
                yield records[number]
            except BadRecordError as error:
                bad(error)

    count, shards = write_shards(tqdm(usable(), unit=" pictures", disable=None), out, bad)
    kind = "records for training" if held_out else "held-out records"
    left = f"; {others:,} {kind} left out, convert them {way}" if others else ""
    return f"{out}: {count:,} pictures in {shards:,} shards{told()}{left}"
