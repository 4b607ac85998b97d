"""Several bags for `smap-ros bag`: each in a process of its own, some at a time."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from smap_ros.cli import tables
from smap_ros.cli.bag import BagOptions
from smap_ros.errors import InputError
from smap_ros.evaluation.common.report import NUMBERS, number_table, shown
from smap_ros.spread import Tick, Workers, spread
from smap_ros.stopping import Stopped

_POLL = 0.1  # seconds
_LAST_WORDS = 60.0  # seconds that a process has to write its report when it was stopped


@dataclass
class _Job:
    """A bag under way; ``said`` is its stderr."""

    options: BagOptions
    process: subprocess.Popen[bytes]
    said: IO[bytes]

    @property
    def reason(self) -> str:
        """Its last line."""
        self.said.seek(0)
        return _last_words(self.said.read().decode(errors="replace"), self.process.returncode)


def run(bags: Sequence[Path], options: BagOptions, workers: Workers) -> None:
    """Report on bags, each in a folder of its name in the report's.

    Args:
        bags: they.
        options: of each; its ``bag`` is nobody's, its ``report`` the folder of all.
        workers: how many at a time, and where.

    Raises:
        InputError: for bags that couldn't be reported on, after all others were.
    """
    folders = report_folders(bags, options.report)
    waiting = [replace(options, bag=bag, report=folder) for bag, folder in folders.items()]
    failed: dict[Path, str] = {}
    with tables.progress() as bar:
        task = bar.add_task(f"{len(waiting)} bags", total=len(waiting))
        for one, wrong in _on_cluster(waiting, workers) if workers.ray else _here(waiting, workers):
            bar.advance(task)
            if wrong:
                failed[one.bag] = wrong
            bar.console.print(f"{one.bag}: {wrong or 'done'}", highlight=False, markup=False)
    done = [one for one in waiting if one.bag not in failed]
    if done:
        tables.console().print(_summary(done))
    if failed:
        told = "; ".join(f"{bag}: {why}" for bag, why in failed.items())
        raise InputError(
            f"{len(failed)} of {len(waiting)} bags couldn't be reported on, the others are in "
            f"{options.report}: {told}"
        )


def report_folders(bags: Sequence[Path], report: Path) -> dict[Path, Path]:
    """A folder for each bag, named as it is; equal names get those of their folders in front.

    Raises:
        InputError: if a bag is given twice.
    """
    names: dict[str, Path] = {}
    places: set[Path] = set()
    for bag in bags:
        if bag.resolve() in places:
            raise InputError(f"bag {bag} is given twice; name each once")
        places.add(bag.resolve())
        parts = bag.resolve().parts
        length = 1
        while (name := "_".join(parts[-length:])) in names and length < len(parts):
            length += 1
        names[name] = bag
    return {bag: report / name for name, bag in names.items()}


def _here(waiting: Sequence[BagOptions], workers: Workers) -> Iterator[tuple[BagOptions, str]]:
    """Each bag when it is done, and why it couldn't be."""
    for job in _finished(waiting, max(workers.jobs, 1)):
        yield job.options, job.reason if job.process.returncode else ""


def _on_cluster(
    waiting: Sequence[BagOptions], workers: Workers
) -> Iterator[tuple[BagOptions, str]]:
    """The same by a cluster's workers, who start in other folders, in order."""
    words = [_anywhere(one).words for one in waiting]
    yield from zip(waiting, spread(_reporter, words, workers), strict=True)


def _anywhere(options: BagOptions) -> BagOptions:
    """The options with whole paths."""
    given = vars(options).items()
    changes: dict[str, Any] = {name: v.resolve() for name, v in given if isinstance(v, Path)}
    model = options.model.model
    if (bundle := Path(model.bundle)).exists():
        whole = model.model_copy(update={"bundle": str(bundle.resolve())})
        changes["model"] = replace(options.model, model=whole)
    return replace(options, **changes)


def _reporter() -> Callable[[list[str], Tick], str]:
    """What a worker does with a bag."""
    return _reported


def _reported(words: list[str], tick: Tick) -> str:
    """Report on a bag; why that can't be."""
    command = [sys.executable, "-m", "smap_ros", *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return _last_words(done.stderr, done.returncode) if done.returncode else ""


def _last_words(said: str, status: int) -> str:
    lines = said.strip().splitlines()
    return (lines[-1] if lines else f"ended with {status}").removeprefix("smap-ros: ")


def _finished(waiting: Sequence[BagOptions], jobs: int) -> Iterator[_Job]:
    """Start them in order, some at a time; each when it has ended.

    Raises:
        Stopped: after those under way have written what they had.
    """
    rest, running = list(waiting), list[_Job]()
    try:
        while rest or running:
            while rest and len(running) < jobs:
                running.append(_start(rest.pop(0)))
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                yield job
                job.said.close()
            time.sleep(_POLL)
    except Stopped as stop:
        stop.during = f"{len(rest)} bags were not begun, {len(running)} not read to their end"
        raise
    finally:
        for job in running:
            with contextlib.suppress(ProcessLookupError):
                job.process.send_signal(signal.SIGINT)
        for job in running:
            _end(job)


def _start(options: BagOptions) -> _Job:
    said = tempfile.TemporaryFile()  # noqa: SIM115  closed when the job has ended
    process = subprocess.Popen(
        [sys.executable, "-m", "smap_ros", *options.words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
    )
    return _Job(options, process, said)


def _end(job: _Job) -> None:
    """Wait for a process that was asked to end, and don't take no for an answer."""
    try:
        job.process.wait(_LAST_WORDS)
    except subprocess.TimeoutExpired:
        job.process.kill()
        job.process.wait()
    job.said.close()


def _summary(done: Sequence[BagOptions]) -> Any:
    """The bags below one another."""
    rows = {}
    for options in done:
        numbers = json.loads((options.report / NUMBERS).read_text(encoding="utf-8"))
        truth = numbers["truth"] or {}
        after = truth.get("after_smoothing", {})
        identities = after.get("identities") or {}
        rows[options.report.name] = (
            f"{numbers['images']} / {numbers['frames']}",
            str(numbers["people"]),
            str(len(numbers["tracks"])),
            str(len(numbers["warnings"])),
            shown(truth.get("mpjpe_mm")),
            shown(after.get("motion", {}).get("mpjpe_mm")),
            shown(identities.get("hota")),
        )
    columns = (
        "bag", "images / worked on", "people", "tracks", "warnings", "MPJPE mm", "smoothed", "HOTA",
    )  # fmt: skip
    return number_table("bags", columns, rows)
