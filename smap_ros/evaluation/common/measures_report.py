"""The report of the official protocols: a summary, tables, and a figure of bars and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.report import number_table


@dataclass(frozen=True)
class Details:
    """A table under the summary: a name and shown numbers per row."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class MeasuresReport:
    """What an official protocol gives.

    Attributes:
        title: the protocol.
        note: what counts, for under the figure's title.
        summary: rows of the first table.
        details: the others.
        values: everything measured, plain data.
        panels: of the figure.
    """

    title: str
    note: str
    summary: Mapping[str, str]
    details: Sequence[Details]
    values: Mapping[str, Any]
    panels: Sequence[Panel]

    def tables(self) -> list[Table]:
        """Summary and details."""
        rows = {name: (value,) for name, value in self.summary.items()}
        tables = [number_table(self.title, ("measure", "value"), rows)]
        tables += [number_table(d.title, d.columns, d.rows) for d in self.details if d.rows]
        return tables

    def numbers(self) -> Mapping[str, Any]:
        """Everything measured."""
        return self.values

    def plots(self) -> NDArray[np.uint8]:
        """See :func:`smap_ros.evaluation.common.panel_figure.measures_figure`."""
        from smap_ros.evaluation.common.panel_figure import (
            measures_figure,  # matplotlib takes a second
        )

        return measures_figure(self.panels, self.title, self.note)

    def gallery(self) -> None:
        """Data sets' pictures don't go into reports: their licences forbid passing them on."""


def named(values: Sequence[float] | NDArray[np.floating], names: Sequence[str]) -> dict[str, float]:
    """Values by name."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def mean(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Mean of the finite values; NaN without any."""
    finite = [float(value) for value in np.ravel(values) if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
