"""The parts of a report's figure, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A part of the figure: bars by name, or curves over ``x`` by name.

    Attributes:
        title: of the panel.
        unit: of the values.
        values: by name: a number for a bar, numbers as many as ``x`` for a curve.
        x: of the curves; None for bars.
        x_label: of the curves.
    """

    title: str
    unit: str
    values: Mapping[str, float | Sequence[float]]
    x: Sequence[float] | None = None
    x_label: str = ""
