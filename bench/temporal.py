"""Smoothers, delays and trackers on films of recorded detections with truth.

    python bench/temporal.py FILMS [--out DIR] [--also NAME=BUNDLE]

FILMS is a folder of `smap-train record`. Prints three tables, of motion, of identities and of what
ten people cost beside one look of the detector, and with ``--out`` draws a joint and a pelvis'
depth over time: truth, raw and smoothed. ``--also`` adds another learned smoother. Costs are
processor time of tracker and smoother together for each picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import list_bundles
from smap_ros.estimators import create_estimator
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

DELAYS = (0, 2, 4)
WAYS = (("none", 0), ("one_euro", 0), ("split", 0), *(("rts", delay) for delay in DELAYS))
TRACKERS = {
    "as shipped": TrackerConfig(),
    "death_time 1 s": TrackerConfig(death_time=1.0, fill_time=1.0),
    "gaps filled for 0.2 s": TrackerConfig(fill_time=0.2),
    "turns not estimated": TrackerConfig(estimate_turn=False),
}


def configs(also: Sequence[str]) -> dict[tuple[str, int], SmootherConfig]:
    """What is compared, by name and delay; ``also`` are more learned smoothers, NAME=BUNDLE."""
    learned = {"maed": "maed_smoother"} if "maed_smoother" in list_bundles() else {}
    learned |= dict(text.split("=", 1) for text in also)
    return {(name, delay): SmootherConfig(smoother=name, delay=delay) for name, delay in WAYS} | {
        (name, delay): SmootherConfig(smoother="maed", delay=delay, smoother_bundle=bundle)
        for name, bundle in learned.items()
        for delay in DELAYS
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
            collector.add(answer.time, seen, true, counted, answer.note)
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


def crowd(film: Film, people: int, pictures: int) -> list[list[Body]]:
    """So many people in every picture: one found in a film, many times, side by side."""
    whole = next(p for p in range(len(film)) if film.detections(p))
    crowds, body = [], film.detections(whole)[0]
    for picture in range(pictures):
        round_, place = divmod(picture, len(film))  # to and fro, so that nobody jumps
        found = film.detections(len(film) - 1 - place if round_ % 2 else place)
        body = min(found, key=lambda one: np.linalg.norm(one.root - body.root), default=body)
        shift = np.array([body.joints_3d[MPI15.root, 2] * 0.25, 0, 0], np.float32)
        crowds.append(
            [
                replace(
                    body,
                    joints_3d=body.joints_3d + (k - people / 2) * shift,
                    joints_2d=body.joints_2d + np.array([(k - people / 2) * 100, 0], np.float32),
                )
                for k in range(people)
            ]
        )
    return crowds


def cost_table(
    ways: dict[tuple[str, int], SmootherConfig], film: Film, bundle: str, people: int = 10
) -> Table:
    """Milliseconds a picture, and as a share of one look of the detector, in turns."""
    estimator = create_estimator(bundle, engine="onnxruntime", threads=1)
    image = np.random.default_rng(0).integers(
        0, 256, (film.view.height, film.view.width, 3), np.uint8
    )
    pictures = crowd(film, people, 60)
    smoothers = {way: BodySmoother(config) for way, config in ways.items()}
    spent: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    looks = []
    for number, found in enumerate(pictures):
        start = time.process_time()
        estimator.estimate(image, film.view)
        looks.append(time.process_time() - start)
        for way, smoother in smoothers.items():
            start = time.process_time()
            smoother.update(found, number / 15)
            spent[way].append(time.process_time() - start)
    look = 1000 * float(np.median(looks[10:]))
    table = Table(
        title=f"{people} people, one thread; a look of {bundle} takes {look:.1f} ms",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("tracker and smoother (delay)", "ms", "of a look"):
        table.add_column(column, justify="left" if " (" in column else "right")
    for (name, delay), times in spent.items():
        cost = 1000 * float(np.median(times[20:]))
        table.add_row(f"{name} ({delay})", f"{cost:.2f}", f"{cost / look:.1%}")
    return table


def _way(places: np.ndarray) -> float:
    """How far somebody got along the axes, of places [T, 3] that may be NaN."""
    return float((np.nanmax(places, axis=0) - np.nanmin(places, axis=0)).sum())


def plot(outcomes: dict[tuple[str, int], Outcome], path: Path) -> None:
    """Left wrist across the view and pelvis' depth of the person who walks farthest."""
    raw = outcomes["none", 0].tracks
    ways = [
        (_way(track.true[:, MPI15.root]) * np.isfinite(track.found).mean(), f, k)
        for f, film in enumerate(raw)
        for k, track in enumerate(film)
    ]
    _, f, k = max(ways)
    wrist = MPI15.index("l_wrist")
    figure, axes = plt.subplots(2, 1, figsize=(10, 6.5), sharex=True, layout="constrained")
    wanted = [("none", 0), ("split", 0), ("rts", 2), ("maed", 0), ("maed", 2)]
    shown = [way for way in wanted if way in outcomes]
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
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME=BUNDLE", help="a learned smoother more"
    )
    parser.add_argument(
        "--detector", default="smap_lite", help="bundle whose look costs compare to"
    )
    options = parser.parse_args()
    films = read_films(options.films)
    ways = configs(options.also)
    outcomes = {way: run(films, config) for way, config in ways.items()}
    console = Console(width=110)
    people = outcomes["none", 0].motion
    title = f"{len(films)} films, {people.people} people, {people.poses} poses"
    console.print(motion_table(outcomes, title))
    console.print(cost_table(ways, films[0], options.detector))
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
