"""Speed of SMAP's label maps, from 1 to 20 people, beside a plain version of the same rules.

    python bench/targets.py [--runs N]

The plain version (plain_labels.py) visits every cell in Python, as the rules are stated; the tests
hold both to the same numbers. Times are the least of several runs in processor time of one thread.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import cv2
import numpy as np
from plain_labels import label_maps as plain_label_maps
from plain_labels import random_bodies
from rich import box
from rich.console import Console
from rich.table import Table

from smap_train.targets.smap import People, label_maps

PEOPLE = (1, 5, 20)
GRID = (128, 208)  # of the official input, 832 x 512


def least_seconds(function: Callable[[], object], runs: int) -> float:
    """Least processor time of some runs."""
    best = math.inf
    for _ in range(runs):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="of the fast version")
    runs = parser.parse_args().runs
    cv2.setNumThreads(1)
    table = Table(
        "people", "plain, s", "here, ms", "ratio", "samples/s a process", box=box.MARKDOWN
    )
    for count in PEOPLE:
        bodies = random_bodies(np.random.default_rng(count), count, GRID)
        people = People(bodies[..., :2], bodies[..., 2], bodies[..., 3].astype(int))
        fast = least_seconds(lambda people=people: label_maps(people, GRID), runs)
        plain = least_seconds(lambda bodies=bodies: plain_label_maps(bodies, GRID), 1)
        table.add_row(
            str(count),
            f"{plain:.1f}",
            f"{1e3 * fast:.1f}",
            f"{plain / fast:.0f}",
            f"{1 / fast:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
