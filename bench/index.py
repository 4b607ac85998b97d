"""Memory and speed of an index of people: building it, opening it, drawing records in any order.

    python bench/index.py [--records 2000000] [--folder DIR]

Each step is a process of its own; its memory is the most that it held itself (resident, without
the pages of the files, which the system may drop at any time) and with these pages.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.skeletons import COCO17
from smap_train.data.index import Index
from smap_train.data.layouts.persons import COLUMNS, PersonRecord, PersonRecords, open_persons
from smap_train.engine.sampling import Mixture, Source

DRAWN = 20_000  # samples


def people(count: int) -> Iterator[PersonRecord]:
    """People as of COCO: 17 joints, one to a picture."""
    rng = np.random.default_rng(0)
    joints = np.zeros((len(COCO17), COLUMNS))
    joints[:, :2], joints[:, -1] = rng.uniform(0, 400, (len(COCO17), 2)), 1
    for k in range(count):
        yield PersonRecord(
            Path(f"train2017/{k:012d}.jpg"), 640, 480, np.array([100.0, 50, 200, 300]), joints,
            COCO17, has_depth=False, place=f"person_keypoints_train2017.json, annotation {k}",
        )  # fmt: skip


def index(folder: Path, count: int) -> Index:
    """The index in a folder, built if it isn't there."""
    source = folder / "source"
    if not source.exists():  # its time is part of the index's name
        source.touch()
    return open_persons("bench", count, [source], lambda: people(count), folder / "indexes")


def build(folder: Path, count: int) -> int:
    """Write all records."""
    return len(index(folder, count))


def draw(folder: Path, count: int) -> int:
    """Draw samples as a run does: shuffled over all of the records."""
    records = PersonRecords(index(folder, count), Path(), COCO17)
    source = Source("people", records, lambda record, rng: record.joints.sum())
    samples = Mixture([source], count, 0)
    for k in range(DRAWN):
        samples[k]
    return DRAWN


def nothing(folder: Path, count: int) -> int:
    """What the program takes by itself."""
    return 0


def measured(step: Any, folder: Path, count: int, answers: Any) -> None:
    """Run a step, and tell seconds, records, and megabytes with and without pages of files."""
    start = time.perf_counter()
    done = step(folder, count)
    seconds = time.perf_counter() - start
    own = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    mapped = int(Path("/proc/self/statm").read_text().split()[2]) * resource.getpagesize()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers.put((seconds, done, (own - mapped) / 1e6, peak / 1e6))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path, help="kept; a temporary one if none")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    table = Table(
        "step", "seconds", "records/s", "own memory, MB", "peak with pages, MB", box=box.MARKDOWN
    )
    spawn = multiprocessing.get_context("spawn")
    for step in (nothing, build, draw):
        answers = spawn.Queue()
        process = spawn.Process(target=measured, args=(step, folder, arguments.records, answers))
        process.start()
        seconds, done, own, peak = answers.get()
        process.join()
        rate = f"{done / seconds:,.0f}" if done else ""
        table.add_row(step.__name__, f"{seconds:.1f}", rate, f"{own:,.0f}", f"{peak:,.0f}")
    Console().print(f"{arguments.records:,} records", table)
    if arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
