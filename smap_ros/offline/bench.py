"""How fast this machine runs a bundle, from image to people, by runtime and by stage."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.camera import Camera
from smap_ros.engines import available_engines
from smap_ros.engines.names import Precision
from smap_ros.errors import EngineError, InputError
from smap_ros.estimators import Estimator, create_estimator
from smap_ros.images import check_size
from smap_ros.paths import config_directory
from smap_ros.sources import open_source

FIELD_OF_VIEW = np.deg2rad(60.0)  # any: it doesn't change the time
WARM_UP = 3
FRAME_RATE = 30.0  # images a second, of the stamps


@dataclass(frozen=True)
class Row:
    """One runtime's measurements; milliseconds.

    Attributes:
        engine: name of the runtime.
        device: the runtime, what it ran on, and its arithmetic, for people to read.
        start_ms: loading the bundle until the first image can come.
        stages_ms: median by stage, in order.
        median_ms, p95_ms: the whole way from image to people.
        frames: images measured.
        people: people found in the last one.
        failure: why there are no numbers, or empty.
    """

    engine: str
    device: str = ""
    start_ms: float = 0.0
    stages_ms: tuple[tuple[str, float], ...] = ()
    median_ms: float = 0.0
    p95_ms: float = 0.0
    frames: int = 0
    people: int = 0
    failure: str = ""

    @property
    def rate(self) -> float:
        """Images a second, one after the other; 0 without numbers."""
        return 1e3 / self.median_ms if self.median_ms else 0.0


def run(
    bundle: Bundle | str | Path = "smap_lite",
    engine: str = "all",
    threads: int = 0,
    size: tuple[int, int] = (1280, 720),
    seconds: float = 3.0,
    *,
    precision: Precision = "f32",
    image: NDArray[np.uint8] | None = None,
    options: Mapping[str, Any] | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Measure a bundle on this machine.

    Args:
        bundle: a loaded bundle, or the name or path of one.
        engine: name of a runtime, ``auto``, or ``all`` that are installed.
        threads: threads of the network; 0 takes all cores this process may use.
        size: width and height of the image in pixels; ignored when there is an image.
        seconds: how long each runtime is measured.
        precision: arithmetic of the network, see ``create_engine``.
        image: uint8 [H, W, 3] to run on; by default the first of the demo's clip, of three
            people, stretched to ``size``.
        options: of the bundle's kind, see ``create_estimator``.
        on_row: called with each row as soon as it is measured.

    Returns:
        A row for each runtime, fastest first; a runtime that fails has its reason in its row.

    Raises:
        BundleError: if the bundle is missing or damaged.
        EngineError: if the one engine that was asked for fails.
        InputError: if seconds or the size are no positive numbers, or the image is too large.
    """
    if not 0 < seconds < math.inf or min(size) <= 0:
        raise InputError(f"seconds is {seconds:g}, size {size}; expected positive numbers")
    check_size(size[1], size[0])
    bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    picture = three_people(size) if image is None else image
    names = list(available_engines()) if engine == "all" else [engine]
    rows = []

    def add(row: Row) -> None:
        rows.append(row)
        on_row(row)

    for name in names:
        start = time.perf_counter()
        try:
            given: dict[str, Any] = dict(options or {})
            estimator = create_estimator(bundle, name, threads, precision, **given)
        except EngineError as error:
            if engine != "all":
                raise
            add(Row(name, failure=str(error)))
            continue
        start_ms = (time.perf_counter() - start) * 1e3
        try:
            add(_measure(estimator, name, start_ms, picture, seconds))
        finally:
            estimator.close()
    return ranked(rows)


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Fastest first, those without numbers last."""
    return sorted(rows, key=lambda row: row.median_ms or np.inf)


def render(rows: Sequence[Row], title: str = "") -> Group:
    """The rows as a table for a terminal: a column for each runtime, a line for each stage.

    Below it, why a runtime failed.
    """
    measured = [row for row in rows if not row.failure]
    slowest = max((row.median_ms for row in measured), default=0.0)
    shown = Text(title, style="table.title") if title else None  # a bundle's path is no markup
    table = Table(title=shown, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("engine")
    for row in measured:
        table.add_column(row.device, justify="right")
    stages = [{"start": row.start_ms, **dict(row.stages_ms)} for row in measured]
    # A runtime that found nobody lacks stages.
    for stage in dict.fromkeys(name for times in stages for name in times):
        cells = (f"{times[stage]:.1f}" if stage in times else "" for times in stages)
        table.add_row(f"{stage} ms", *cells)
    whole: dict[str, Callable[[Row], str]] = {
        "total ms": lambda row: f"{row.median_ms:.1f}",
        "p95 ms": lambda row: f"{row.p95_ms:.1f}",
        "Hz": lambda row: f"{row.rate:.1f}",
        "x slowest": lambda row: f"{slowest / row.median_ms:.2f}",
        "people": lambda row: str(row.people),
    }
    for name, value in whole.items() if measured else ():
        table.add_row(name, *map(value, measured))
    failed = (Text(f"{row.engine}: {row.failure}") for row in rows if row.failure)
    return Group(table, *failed)


def _measure(
    estimator: Estimator, name: str, start_ms: float, image: NDArray[np.uint8], seconds: float
) -> Row:
    height, width = image.shape[:2]
    camera = Camera.from_fov(width, height, float(FIELD_OF_VIEW))
    # Models that see people over time want a film.
    stamps = (k / FRAME_RATE for k in itertools.count())
    for _ in range(WARM_UP):
        estimator.estimate(image, camera, next(stamps))
    totals: list[float] = []
    stages: list[dict[str, float]] = []
    people = 0
    end = time.perf_counter() + seconds
    while not totals or time.perf_counter() < end:
        start = time.perf_counter()
        frame = estimator.estimate(image, camera, next(stamps))
        totals.append((time.perf_counter() - start) * 1e3)
        stages.append(dict(frame.timings_ms))
        people = len(frame)
    return Row(
        engine=name,
        device=estimator.about.runtime,
        start_ms=start_ms,
        stages_ms=tuple(
            (stage, float(np.median([times[stage] for times in stages if stage in times])))
            for stage in stages[-1]
        ),
        median_ms=float(np.median(totals)),
        p95_ms=float(np.percentile(totals, 95)),
        frames=len(totals),
        people=people,
    )


def three_people(size: tuple[int, int]) -> NDArray[np.uint8]:
    """The first image of the demo's clip, uint8 [H, W, 3] of that size (width, height)."""
    with contextlib.closing(open_source(str(config_directory() / "demo" / "clip.mp4"))) as clip:
        first = next(iter(clip))
    return np.asarray(cv2.resize(first.image, size, interpolation=cv2.INTER_AREA), np.uint8)
