"""Speed and memory of the part association, from 1 to 40 people.

    python bench/association.py [--out DIR]

Times each stage on synthetic maps beside a plain-Python version of the same method, measured
in the same run, prints a table and, with ``--out``, saves it as a plot. Times are the least of
several runs in processor time, so other load on the machine counts as little as possible.
"""

from __future__ import annotations

import argparse
import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from naive_association import naive_associate, synthetic_scene
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.association import assign, associate, find_peaks, limb_scores

mpl.use("Agg")
from matplotlib import pyplot as plt

PEOPLE = (1, 2, 5, 10, 20, 30, 40)
STAGES = ("find_peaks", "limb_scores", "assign")
# What a frame may cost at that many people, milliseconds.
BUDGET_MS = {10: 3.0, 20: 6.0}


@dataclass(frozen=True)
class Row:
    """Measurements at one number of people; times in milliseconds."""

    people: int
    peaks: int
    pairs: int
    stages_ms: tuple[float, ...]
    total_ms: float
    naive_ms: float
    memory_kib: float


def least_ms(function: Callable[[], object], runs: int) -> float:
    """Least processor time of some runs, milliseconds."""
    best = math.inf
    for _ in range(runs):
        start = time.process_time_ns()
        function()
        best = min(best, time.process_time_ns() - start)
    return best / 1e6


def measure(people: int, runs: int) -> Row:
    """One row of the table."""
    maps, root_depth = synthetic_scene(people, seed=people)
    peaks = find_peaks(maps)
    scores = limb_scores(maps, peaks)
    lists = maps.tolist(), root_depth.tolist()
    tracemalloc.start()
    associate(maps, root_depth)
    _, memory = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Row(
        people=people,
        peaks=len(peaks.table),
        pairs=len(scores.values),
        stages_ms=(
            least_ms(lambda: find_peaks(maps), runs),
            least_ms(lambda: limb_scores(maps, peaks), runs),
            least_ms(lambda: assign(peaks, scores, root_depth), runs),
        ),
        total_ms=least_ms(lambda: associate(maps, root_depth), runs),
        naive_ms=least_ms(lambda: naive_associate(*lists, math.sqrt), 1),
        memory_kib=memory / 1024,
    )


def table(rows: list[Row]) -> Table:
    """The rows for the terminal."""
    out = Table(
        title="Part association, 43 x 128 x 208 maps, one core: ms by stage, peak memory",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    stages = ("peaks", "limbs", "assign")
    for column in ("people", "joints", "pairs", *stages, "total", "budget", "naive", "x", "KiB"):
        out.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        budget = BUDGET_MS.get(row.people)
        out.add_row(
            f"{row.people}",
            f"{row.peaks}",
            f"{row.pairs}",
            *(f"{ms:.2f}" for ms in row.stages_ms),
            f"{row.total_ms:.2f}",
            "" if budget is None else f"{budget:.1f}",
            f"{row.naive_ms:.0f}",
            f"{row.naive_ms / row.total_ms:.0f}",
            f"{row.memory_kib:.0f}",
        )
    return out


def plot(rows: list[Row], path: Path) -> None:
    """Growth with the number of people: stages, and the ratio to plain Python."""
    people = [row.people for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    left.stackplot(
        people, *zip(*(row.stages_ms for row in rows), strict=True), labels=STAGES, alpha=0.8
    )
    left.plot(people, [row.total_ms for row in rows], "k.-", label="associate()")
    left.plot(list(BUDGET_MS), list(BUDGET_MS.values()), "rv", label="budget")
    left.set(xlabel="people", ylabel="ms per frame", title="Time by stage")
    left.legend(loc="upper left")
    right.loglog(people, [row.total_ms for row in rows], "k.-", label="associate()")
    right.loglog(people, [row.naive_ms for row in rows], ".-", label="plain Python")
    right.set(xlabel="people", ylabel="ms per frame", title="Beside plain Python")
    right.legend()
    right.grid(which="both", alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for association.png")
    parser.add_argument("--runs", type=int, default=40, help="runs the least is taken of")
    options = parser.parse_args()
    rows = [measure(people, options.runs) for people in PEOPLE]
    console = Console()
    console.print(table(rows))
    if options.out is None:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    plot(rows, options.out / "association.png")
    console.print(f"plot: {options.out / 'association.png'}")


if __name__ == "__main__":
    main()
