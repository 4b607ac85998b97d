"""The look of all plots: dark, quiet axes; rendered without a display."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smap_ros.viz import colors
from smap_ros.viz.colors import as_hex

Image = NDArray[np.uint8]


def dark_figure(width: float, height: float) -> Figure:
    """An empty figure; one unit is 120 px."""
    figure = Figure(figsize=(width, height), dpi=120, facecolor=as_hex(colors.BACKGROUND))
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Colours, title and labels of a panel."""
    axes.set_facecolor(as_hex(colors.PANEL))
    axes.set_title(title, color=as_hex(colors.TEXT), fontsize=12, loc="left", pad=8)
    axes.set_xlabel(x_label, color=as_hex(colors.MUTED), fontsize=10)
    axes.set_ylabel(y_label, color=as_hex(colors.MUTED), fontsize=10)
    axes.tick_params(colors=as_hex(colors.MUTED), labelsize=9, length=0)
    axes.grid(True, color=as_hex(colors.GRID), linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(as_hex(colors.GRID))


def rendered(figure: Figure) -> Image:
    """The figure as uint8 [H, W, 3], bgr."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", facecolor=figure.get_facecolor())
    width, height = (round(v * figure.dpi) for v in figure.get_size_inches())
    rgba = np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)
    return np.ascontiguousarray(rgba[..., 2::-1])
