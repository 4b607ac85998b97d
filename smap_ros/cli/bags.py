"""Several bags for `smap-ros bag`: each in a process of its own, some at a time."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from smap_ros.cli import tables
from smap_ros.cli.bag import BagOptions
from smap_ros.errors import InputError
from smap_ros.evaluation.common.report import NUMBERS, number_table, shown
from smap_ros.paths import python_of
from smap_ros.spread import Tick, Workers, spread
from smap_ros.stopping import Stopped, held

_LAST_WORDS = 60.0  # seconds that a process has to write its report when it was stopped


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
        for one, wrong in _reports(waiting, workers, lambda count: bar.advance(task, count)):
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


def _reports(
    waiting: Sequence[BagOptions], workers: Workers, on_bag: Tick
) -> Iterator[tuple[BagOptions, str]]:
    """Each bag in order, and why it couldn't be reported on; empty where it was.

    Raises:
        Stopped: after those under way have written what they had.
    """
    ended = 0

    def tick(count: int) -> None:
        nonlocal ended
        ended += count
        on_bag(count)

    # Workers of a cluster start in other folders.
    words = [(_anywhere(one) if workers.ray else one).words for one in waiting]
    try:
        with closing(spread(_reporter, words, workers, tick, 2 * _LAST_WORDS)) as told:
            yield from zip(waiting, told, strict=True)
    except Stopped as stop:
        begun = min(max(workers.jobs, 1), len(waiting) - ended)
        rest = len(waiting) - ended - begun
        stop.during = f"{rest} bags were not begun, {begun} not read to their end"
        raise


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
    """Report on a bag in a process of its own, which costs no other if it dies; why that can't be.

    Raises:
        Stopped: after it has written what it had.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*python_of("smap_ros"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            status = process.wait()
        except Stopped:
            process.send_signal(signal.SIGINT)
            with held():
                _end(process)
            raise
        said.seek(0)
        wrong = said.read().decode(errors="replace")
    tick(1)
    return _last_words(wrong, status) if status else ""


def _last_words(said: str, status: int) -> str:
    lines = said.strip().splitlines()
    return (lines[-1] if lines else f"ended with {status}").removeprefix("smap-ros: ")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was asked to end, and don't take no for an answer."""
    try:
        process.wait(_LAST_WORDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
