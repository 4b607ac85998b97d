"""`smap-ros bench`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.cli import tables
from smap_ros.errors import EngineError, InputError
from smap_ros.estimators.options import ModelChoice
from smap_ros.offline import bench
from smap_ros.pictures import write_whole
from smap_ros.sources import open_source
from smap_ros.stopping import Stopped, held


def run(
    model: ModelChoice,
    engine: str,
    size: tuple[int, int],
    seconds: float,
    image: Path | None,
    out: Path | None,
) -> None:
    """Measure, show a table, and write the numbers where asked.

    Args:
        model: what is measured.
        engine, size, seconds: see :func:`smap_ros.offline.bench.run`.
        image: picture to measure on, instead of the demo's first.
        out: JSON file for the numbers.

    Raises:
        SmapError: whatever the user has to change.
    """
    picture = None if image is None else _first_picture(image)
    measured: list[bench.Row] = []
    stop: Stopped | None = None
    bundle = model.model.bundle
    try:
        bench.run(
            bundle,
            engine,
            model.model.threads,
            size,
            seconds,
            precision=model.model.precision,
            image=picture,
            options=model.options,
            on_row=measured.append,
        )
    except Stopped as asked:
        stop = asked
        stop.during = f"runtimes measured so far: {len(measured)}"
    if measured or stop is None:
        with held():
            _show(bench.ranked(measured), bundle, size, picture, out)
    if stop is not None:
        raise stop
    if not any(row.median_ms for row in measured):
        raise EngineError("no runtime could be measured; why is told above, see smap-ros doctor")


def _first_picture(path: Path) -> NDArray[np.uint8]:
    for frame in open_source(str(path)):
        return frame.image
    raise InputError(f"no image could be read from {path}; expected a picture to measure on")


def _show(
    rows: list[bench.Row],
    bundle: str,
    size: tuple[int, int],
    picture: NDArray[np.uint8] | None,
    out: Path | None,
) -> None:
    width, height = size if picture is None else picture.shape[1::-1]
    tables.console().print(bench.render(rows, f"{bundle}, {width}x{height} px"))
    if out is not None:
        data = {
            "bundle": bundle,
            "size": [width, height],
            "rows": [{**dataclasses.asdict(row), "stages_ms": dict(row.stages_ms)} for row in rows],
        }
        write_whole(out, (json.dumps(data, indent=1) + "\n").encode())
