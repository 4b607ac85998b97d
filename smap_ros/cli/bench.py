"""`smap-ros bench`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from smap_ros.cli import tables
from smap_ros.errors import InputError
from smap_ros.estimators.options import ModelChoice
from smap_ros.offline import bench
from smap_ros.sources import open_source


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
        image: picture to measure on, instead of random colours.
        out: JSON file for the numbers.

    Raises:
        SmapError: whatever the user has to change.
    """
    picture = None if image is None else next(iter(open_source(str(image)))).image
    bundle = model.model.bundle
    rows = bench.run(
        bundle,
        engine,
        model.model.threads,
        size,
        seconds,
        precision=model.model.precision,
        image=picture,
        options=model.options,
    )
    width, height = size if picture is None else picture.shape[1::-1]
    tables.console().print(bench.render(rows, f"{bundle}, {width}x{height} px"))
    if out is not None:
        data = {
            "bundle": bundle,
            "size": [width, height],
            "rows": [{**dataclasses.asdict(row), "stages_ms": dict(row.stages_ms)} for row in rows],
        }
        try:
            out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"can't write {out}: {error.strerror}") from error
