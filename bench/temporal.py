"""Smoothers, delays and trackers on films of recorded detections with truth.

    python bench/temporal.py FILMS [--out DIR]

FILMS is a folder of `smap-train record`. Prints two tables, of motion and of identities, and with
``--out`` draws a joint and a pelvis' depth over time: truth, raw and smoothed. Costs are processor
time of tracker and smoother together for each picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.bodies import Body
from smap_ros.evaluation.common.films import Film, read_films
from smap_ros.evaluation.common.identities import (
    IdentityCollector,
    IdentityNumbers,
    has_trackeval,
    identity_numbers,
)
from smap_ros.evaluation.common.motion import MotionNumbers, Track, TrackCollector, motion_numbers
from smap_ros.skeletons import MPI15
from smap_ros.temporal import BodySmoother, SmootherConfig, TrackerConfig

mpl.use("Agg")
from matplotlib import pyplot as plt

WAYS = (("none", 0), ("one_euro", 0), ("split", 0), ("rts", 0), ("rts", 2), ("rts", 4))
TRACKERS = {
    "as shipped": TrackerConfig(),
    "death_time 1 s": TrackerConfig(death_time=1.0, fill_time=1.0),
    "gaps filled for 0.2 s": TrackerConfig(fill_time=0.2),
    "turns not estimated": TrackerConfig(estimate_turn=False),
}


@dataclass(frozen=True)
class Outcome:
    """A way over all films; ``tracks`` of each film."""

    motion: MotionNumbers
    identities: IdentityNumbers | None
    tracks: list[list[Track]]
    cost_ms: float


def run(films: Sequence[Film], config: SmootherConfig, *, predicted: bool = False) -> Outcome:
    """Play films through tracker and smoother; ``predicted`` counts those as reported."""
    tracks, collectors, spent, pictures = [], [], 0.0, 0
    for film in films:
        smoother, collector, identities = (
            BodySmoother(config),
            TrackCollector(),
            IdentityCollector(),
        )
        answers = []
        for k in range(len(film)):
            found = film.detections(k)
            start = time.process_time()
            answers += smoother.update(found, float(film.stamps[k]), k)
            spent += time.process_time() - start
        answers += smoother.flush()
        pictures += len(film)
        for answer in answers:
            true, counted = film.truth(answer.note), film.counted[film.true_frame == answer.note]
            seen: list[Body] = [p.body for p in answer.people if not p.predicted]
            collector.add(answer.time, seen, true, counted)
            shown = [p.body for p in answer.people] if predicted else seen
            identities.add(shown, true, counted)
        tracks.append(collector.tracks())
        collectors.append(identities)
    numbers = motion_numbers([track for film in tracks for track in film])
    who = identity_numbers(collectors) if has_trackeval() else None
    return Outcome(numbers, who, tracks, 1000 * spent / pictures)


def motion_table(outcomes: dict[tuple[str, int], Outcome], title: str) -> Table:
    """Smoothers by delay."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("smoother (delay)")
    for column in (
        "MPJPE mm", "PA mm", "acc. error abs / rel", "jerk", "bones %", "depth %", "lag", "ms",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for (name, delay), outcome in outcomes.items():
        m = outcome.motion
        table.add_row(
            f"{name} ({delay})",
            f"{m.mpjpe_mm:.1f}",
            f"{m.pa_mpjpe_mm:.1f}",
            f"{m.acceleration:.1f} / {m.relative_acceleration:.1f}",
            f"{m.jerk:.2f}",
            f"{m.bones_percent:.1f}",
            f"{m.depth_percent:.2f}",
            f"{m.lag:.2f}",
            f"{outcome.cost_ms:.2f}",
        )
    return table


def identity_table(outcomes: dict[str, Outcome]) -> Table:
    """Trackers."""
    table = Table(title="identities, measured people", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("tracker")
    for column in ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "switches", "fragments"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, outcome in outcomes.items():
        who = outcome.identities
        if who is None:
            table.add_row(name, *["-"] * 5, str(outcome.motion.switches), "-")
            continue
        shares = (who.hota, who.deta, who.assa, who.mota, who.idf1)
        table.add_row(name, *(f"{v:.1f}" for v in shares), str(who.switches), str(who.fragments))
    return table


def plot(outcomes: dict[tuple[str, int], Outcome], path: Path) -> None:
    """Left wrist across the view and pelvis' depth of the person who walks farthest."""
    raw = outcomes["none", 0].tracks
    ways = [
        (np.ptp(track.true[:, MPI15.root], axis=0).sum() * np.isfinite(track.found).mean(), f, k)
        for f, film in enumerate(raw)
        for k, track in enumerate(film)
    ]
    _, f, k = max(ways)
    wrist = MPI15.index("l_wrist")
    figure, axes = plt.subplots(2, 1, figsize=(10, 6.5), sharex=True, layout="constrained")
    shown = [("none", 0), ("one_euro", 0), ("split", 0), ("rts", 2)]
    for axis, (joint, column, title) in zip(
        axes, ((wrist, 0, "left wrist, x [m]"), (MPI15.root, 2, "pelvis, depth [m]")), strict=True
    ):
        track = raw[f][k]
        axis.plot(track.stamps, track.true[:, joint, column], "k", lw=2, label="truth")
        for way in shown:
            found = outcomes[way].tracks[f][k]
            label = "raw" if way == ("none", 0) else f"{way[0]} ({way[1]})"
            style = "." if way == ("none", 0) else "-"
            axis.plot(found.stamps, found.found[:, joint, column], style, label=label, ms=4, lw=1.2)
        axis.set(ylabel=title)
        axis.grid(alpha=0.3)
    axes[0].legend(ncols=5, loc="upper center")
    axes[1].set(xlabel="time [s]")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path, help="folder of recorded films")
    parser.add_argument("--out", type=Path, help="folder for temporal.png")
    options = parser.parse_args()
    films = read_films(options.films)
    outcomes = {way: run(films, SmootherConfig(smoother=way[0], delay=way[1])) for way in WAYS}
    console = Console(width=110)
    people = outcomes["none", 0].motion
    title = f"{len(films)} films, {people.people} people, {people.poses} poses"
    console.print(motion_table(outcomes, title))
    trackers = {
        name: run(films, SmootherConfig(tracker=config, smoother="none"))
        for name, config in TRACKERS.items()
    }
    shown = run(films, SmootherConfig(smoother="none"), predicted=True)
    console.print(identity_table({**trackers, "predicted people counted": shown}))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        plot(outcomes, options.out / "temporal.png")
        console.print(f"plot: {options.out / 'temporal.png'}")


if __name__ == "__main__":
    main()
