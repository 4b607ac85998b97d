"""Reports: tables for the terminal, numbers as JSON, plots and a gallery as pictures."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from smap_ros.errors import InputError
from smap_ros.paths import make_folder
from smap_ros.pictures import write_picture, write_whole

LOG = logging.getLogger(__name__)

Image = NDArray[np.uint8]

NUMBERS, PLOTS, GALLERY = "report.json", "plots.png", "gallery.png"


class Report(Protocol):
    """What a protocol gives."""

    def tables(self) -> list[Table]:
        """For the terminal, the summary first."""

    def numbers(self) -> Mapping[str, Any]:
        """Everything measured; plain data, NaN allowed."""

    def plots(self) -> Image:
        """The figure, uint8 [H, W, 3] bgr."""

    def gallery(self) -> Image | None:
        """The worst cases, uint8 [H, W, 3] bgr; None if nothing is wrong or there is nobody.

        Raises:
            InputError: if a picture can't be read.
        """


@dataclass(frozen=True)
class Origin:
    """Where a report comes from.

    Attributes:
        protocol: its name.
        command: that makes it again.
        predictions: description of what was measured.
        truth: against what.
        version: of smap_ros.
    """

    protocol: str
    command: str
    predictions: str
    truth: str
    version: str


def claim_folder(out: Path) -> None:
    """Make the output folder, before any work is done.

    Raises:
        InputError: if it can't be made.
    """
    make_folder(out, "the report folder")


def write_report(report: Report, origin: Origin, out: Path) -> list[str]:
    """Write numbers, plots and gallery to a folder; earlier ones in it are replaced.

    People who were found already are measured without their pictures. Where one of those can't be
    read, there is a warning, and no gallery.

    Returns:
        Names of the files written.

    Raises:
        InputError: if the folder can't be written to.
    """
    content = json.dumps(plain({**vars(origin), **report.numbers()}), indent=1, allow_nan=False)
    write_whole(out / NUMBERS, f"{content}\n".encode())
    written = [NUMBERS]
    for name, image in ((PLOTS, report.plots()), (GALLERY, _gallery(report))):
        (out / name).unlink(missing_ok=True)  # an earlier report's would be taken for this one's
        if image is None:
            continue
        write_picture(out / name, image)
        written.append(name)
    return written


def _gallery(report: Report) -> Image | None:
    try:
        return report.gallery()
    except InputError as error:
        LOG.warning("%s, the worst cases on their pictures, is left out: %s", GALLERY, error)
        return None


def plain(value: Any) -> Any:
    """Data as JSON has it: numbers rounded to 6 digits after the point, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) if math.isfinite(value) else None
    return [plain(item) for item in value]


def number_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    """A name and numbers per row."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(columns[0], style="dim")
    for name in columns[1:]:
        table.add_column(name, justify="right")
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def shown(value: float | None, digits: int = 1) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(part: int, whole: int) -> float:
    """How much of the whole; NaN of nothing."""
    return 100 * part / whole if whole else math.nan


def label(low: float, high: float, unit: str) -> str:
    """``2-4 m``, ``below 60 deg``, ``8 m or more``."""
    if math.isinf(high):
        return f"{low:g} {unit} or more"
    return f"below {high:g} {unit}" if low == 0 else f"{low:g}-{high:g} {unit}"
