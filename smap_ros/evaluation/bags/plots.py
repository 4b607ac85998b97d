"""The figure of a bag's report."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from smap_ros.evaluation.bags.measures import BagRun, tracks
from smap_ros.viz import colors
from smap_ros.viz.colors import as_hex
from smap_ros.viz.figures import dark_figure, rendered, style_axes

_INKS = [as_hex(color) for color in colors.PALETTE]


def bag_figure(run: BagRun, title: str) -> NDArray[np.uint8]:
    """People, intervals between images and latency over time, and when each identity was seen.

    Returns:
        uint8 [H, W, 3], bgr, 1920 px wide.
    """
    figure = dark_figure(16, 10)
    grid = figure.add_gridspec(
        2, 2, left=0.06, right=0.98, top=0.88, bottom=0.07, wspace=0.2, hspace=0.32
    )
    stamps = np.array([frame.stamp for frame in run.frames])
    seconds = stamps - stamps[0] if len(stamps) else stamps
    _people(figure.add_subplot(grid[0, 0]), run, seconds)
    _tracks(figure.add_subplot(grid[0, 1]), run)
    _intervals(figure.add_subplot(grid[1, 0]), seconds)
    _latency(figure.add_subplot(grid[1, 1]), run, seconds)
    # A bag's name may hold two $.
    figure.text(0.045, 0.95, title, color=as_hex(colors.TEXT), fontsize=16, parse_math=False)
    figure.text(0.045, 0.922, run.mode, color=as_hex(colors.MUTED), fontsize=10, parse_math=False)
    return rendered(figure)


def _people(axes: Axes, run: BagRun, seconds: NDArray[np.float64]) -> None:
    style_axes(axes, "People per frame", "[s]", "")
    counts = [len(frame) for frame in run.frames]
    axes.step(seconds, counts, where="post", color=_INKS[0], linewidth=1.6)
    axes.set_ylim(0, max([1, *counts]) * 1.15)


def _tracks(axes: Axes, run: BagRun) -> None:
    style_axes(axes, "Identities", "[s]", "id")
    start = run.frames[0].stamp if run.frames else 0.0
    named = tracks(run.frames)
    for row, track in enumerate(named):
        places = [f.stamp - start for f in run.frames if any(b.id == track.id for b in f)]
        axes.plot(places, [row] * len(places), "|", color=_INKS[row % len(_INKS)], markersize=9)
    axes.set_yticks(range(len(named)), [str(track.id) for track in named])
    axes.set_ylim(-0.7, max(len(named), 1) - 0.3)


def _intervals(axes: Axes, seconds: NDArray[np.float64]) -> None:
    style_axes(axes, "Interval between frames", "[s]", "[ms]")
    if len(seconds) > 1:
        axes.plot(seconds[1:], 1000 * np.diff(seconds), color=_INKS[1], linewidth=1.2)
    axes.set_ylim(bottom=0)


def _latency(axes: Axes, run: BagRun, seconds: NDArray[np.float64]) -> None:
    """Of each frame where it is known, else the percentiles by stage."""
    totals = [sum(frame.timings_ms.values()) for frame in run.frames]
    if any(totals):
        style_axes(axes, "Time per frame", "[s]", "[ms]")
        axes.plot(seconds, totals, color=_INKS[2], linewidth=1.2)
        axes.set_ylim(bottom=0)
        return
    style_axes(axes, "Latency, p50 and p95", "[ms]", "")
    for row, latency in enumerate(run.latency.values()):
        axes.barh(row, latency.p95, color=_INKS[2], alpha=0.4, height=0.6)
        axes.barh(row, latency.p50, color=_INKS[2], height=0.6)
    axes.set_yticks(range(len(run.latency)), list(run.latency))
    axes.invert_yaxis()
