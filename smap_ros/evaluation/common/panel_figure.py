"""The figure of the official protocols' reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from smap_ros.evaluation.common.panels import Panel
from smap_ros.viz import colors
from smap_ros.viz.colors import as_hex
from smap_ros.viz.figures import dark_figure, rendered, style_axes

_INKS = [as_hex(color) for color in colors.PALETTE]
_SIDES = {"l_": _INKS[0], "r_": _INKS[1]}


def measures_figure(panels: Sequence[Panel], title: str, note: str) -> NDArray[np.uint8]:
    """Panels side by side under a title.

    Returns:
        uint8 [H, W, 3], bgr, 1920 px wide.
    """
    figure = dark_figure(16, 7.5)
    grid = figure.add_gridspec(
        1, len(panels), left=0.075, right=0.98, top=0.82, bottom=0.1, wspace=0.32
    )
    for column, panel in enumerate(panels):
        axes = figure.add_subplot(grid[0, column])
        (_bars if panel.x is None else _curves)(axes, panel)
    figure.text(0.045, 0.945, title, color=as_hex(colors.TEXT), fontsize=16, parse_math=False)
    figure.text(0.045, 0.905, note, color=as_hex(colors.MUTED), fontsize=10, parse_math=False)
    return rendered(figure)


def _bars(axes: Axes, panel: Panel) -> None:
    """Horizontal bars in order, joints coloured by side."""
    style_axes(axes, panel.title, panel.unit, "")
    names = list(panel.values)
    numbers = [float(np.mean(value)) for value in panel.values.values()]
    drawn = [value if math.isfinite(value) else 0.0 for value in numbers]
    ink = [_SIDES.get(name[:2], _INKS[2]) for name in names]
    axes.barh(range(len(names)), drawn, color=ink, height=0.7)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.tick_params(axis="y", labelcolor=as_hex(colors.TEXT))
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    for row, value in enumerate(numbers):
        text = f"{value:.1f}" if math.isfinite(value) else "none"
        axes.annotate(
            text, (drawn[row], row), xytext=(4, 0), textcoords="offset points", va="center",
            color=as_hex(colors.TEXT), fontsize=9,
        )  # fmt: skip
    axes.set_xlim(0, max(1e-6, *drawn, 0.0) * 1.15)


def _curves(axes: Axes, panel: Panel) -> None:
    style_axes(axes, panel.title, panel.x_label, panel.unit)
    x = np.asarray(panel.x, np.float64)
    for k, (name, values) in enumerate(panel.values.items()):
        axes.plot(x, np.asarray(values), color=_INKS[k % len(_INKS)], linewidth=2, label=name)
    axes.set_ylim(bottom=0)
    if len(panel.values) > 1:
        axes.legend(frameon=False, labelcolor=as_hex(colors.TEXT), fontsize=9)
