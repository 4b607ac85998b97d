"""Figures of the reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from smap_ros.evaluation.common.report import shown
from smap_ros.evaluation.pck2d import measures as pck2d
from smap_ros.evaluation.virtual import measures as virtual
from smap_ros.skeletons import MPI15
from smap_ros.viz import colors
from smap_ros.viz.colors import as_hex
from smap_ros.viz.figures import dark_figure, rendered, style_axes

Image = NDArray[np.uint8]

_BLUE, _ORANGE, _GREEN = (as_hex(color) for color in colors.PALETTE[:3])


def virtual_figure(outcome: virtual.Outcome, title: str) -> Image:
    """Errors by joint, true against predicted depth, and the measures by group.

    Returns:
        uint8 [H, W, 3], bgr, 1920 px wide.
    """
    figure = dark_figure(16, 10)
    grid = figure.add_gridspec(
        2, 3, left=0.085, right=0.98, top=0.86, bottom=0.07, wspace=0.3, hspace=0.32
    )
    joints = virtual.by_joint(outcome.people)
    groups = virtual.by_group(outcome)
    _joint_bars(
        figure.add_subplot(grid[0, 0]),
        {name: numbers.mpjpe_mm for name, numbers in joints.items()},
        ("Error with pelvises aligned", "mean [mm]", "{:.0f}"),
    )
    _joint_bars(
        figure.add_subplot(grid[0, 1]),
        {name: numbers.pck250_percent for name, numbers in joints.items()},
        ("Absolute PCK at 250 mm", "within 250 mm of the truth [%]", "{:.0f}"),
    )
    _depths(figure.add_subplot(grid[0, 2]), outcome.people)
    for column, group in enumerate(("distance", "joints hidden", "field of view")):
        _group_bars(figure.add_subplot(grid[1, column]), group, groups[group])
    _headings(figure, title, "true people over 60 px and less than 60 % hidden")
    return rendered(figure)


def pck2d_figure(outcome: pck2d.Outcome, title: str) -> Image:
    """PCK over thresholds by part of the body, and at 0.2 of the torso by joint.

    Returns:
        uint8 [H, W, 3], bgr, 1920 px wide.
    """
    figure = dark_figure(16, 7.5)
    grid = figure.add_gridspec(
        1, 2, left=0.055, right=0.98, top=0.82, bottom=0.1, wspace=0.2, width_ratios=(1.5, 1)
    )
    _curves(figure.add_subplot(grid[0, 0]), pck2d.curves(outcome.photos))
    joints = pck2d.by_joint(outcome.photos)
    _joint_bars(
        figure.add_subplot(grid[0, 1]),
        {name: numbers.pck_percent for name, numbers in joints.items()},
        ("PCK at 0.2 of the torso", "right [%]", "{:.0f}"),
    )
    _headings(figure, title, f"{len(outcome.photos)} photos, one labelled person each")
    return rendered(figure)


def _headings(figure: Figure, title: str, note: str) -> None:
    figure.text(0.045, 0.945, title, color=as_hex(colors.TEXT), fontsize=16, parse_math=False)
    figure.text(0.045, 0.915, note, color=as_hex(colors.MUTED), fontsize=10, parse_math=False)


def _joint_bars(axes: Axes, values: Mapping[str, float], words: tuple[str, str, str]) -> None:
    """Horizontal bars in the order of the skeleton, coloured by side."""
    title, unit, form = words
    style_axes(axes, title, unit, "")
    sides = {"left": _BLUE, "right": _ORANGE, "middle": _GREEN}
    names = list(values)
    numbers = [value if math.isfinite(value) else 0.0 for value in values.values()]
    ink = [sides[MPI15.side(MPI15.index(name))] for name in names]
    axes.barh(range(len(names)), numbers, color=ink, height=0.7)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.tick_params(axis="y", labelcolor=as_hex(colors.TEXT))
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    for row, value in enumerate(values.values()):
        text = form.format(value) if math.isfinite(value) else "none"
        axes.annotate(
            text, (numbers[row], row), xytext=(4, 0), textcoords="offset points", va="center",
            color=as_hex(colors.TEXT), fontsize=9,
        )  # fmt: skip
    axes.set_xlim(0, max(1.0, *numbers) * 1.12)


def _depths(axes: Axes, people: Sequence[virtual.Person]) -> None:
    """True against predicted depth of the pelvis; missed people as marks at the bottom."""
    style_axes(axes, "Depth of the pelvis", "true [m]", "predicted [m]")
    found = [(p.true.root[2], p.found.root[2]) for p in people if p.found is not None]
    missed = [float(p.true.root[2]) for p in people if p.found is None]
    far = max([1.0, *(float(true) for true, _ in found), *missed]) * 1.06
    axes.plot([0, far], [0, far], color=as_hex(colors.MUTED), linewidth=1)
    axes.fill_between(
        [0, far],
        [0, 0.9 * far],
        [0, 1.1 * far],
        color=as_hex(colors.TEXT),
        alpha=0.06,
        linewidth=0,
    )
    if found:
        true, predicted = np.array(found, float).T
        # What is far off the scale stays in sight.
        predicted = np.clip(predicted, 0, 1.3 * far)
        axes.scatter(true, predicted, s=12, color=_BLUE, alpha=0.55, linewidths=0)
    axes.plot(missed, [0.015 * far] * len(missed), "|", color=_ORANGE, markersize=9)
    axes.set_xlim(0, far)
    axes.set_ylim(0, 1.32 * far)
    handles = [
        Patch(color=_BLUE, label=f"{len(found)} found"),
        Patch(color=_ORANGE, label=f"{len(missed)} missed"),
        Patch(color=as_hex(colors.GRID), label="within 10 %"),
    ]
    _legend(axes, handles)


def _group_bars(axes: Axes, title: str, groups: Mapping[str, virtual.Numbers]) -> None:
    """Recall and absolute PCK of each group; under it, how many people and their error in mm."""
    style_axes(axes, f"By {title}", "", "[%]")
    places = np.arange(len(groups))
    kinds = (("recall", _GREEN, -0.19), ("PCK 250 mm", _BLUE, 0.19))
    for name, ink, shift in kinds:
        values = [
            numbers.recall_percent if name == "recall" else numbers.pck250_percent
            for numbers in groups.values()
        ]
        axes.bar(places + shift, np.nan_to_num(values), width=0.36, color=ink)
    labels = [
        f"{name}\n{numbers.people} people\nMPJPE {shown(numbers.mpjpe_mm, 0)}"
        for name, numbers in groups.items()
    ]
    axes.set_xticks(places, labels)
    axes.tick_params(axis="x", labelcolor=as_hex(colors.TEXT), labelsize=8)
    axes.grid(False, axis="x")
    axes.set_ylim(0, 118)
    axes.set_yticks(range(0, 101, 20))
    _legend(axes, [Patch(color=ink, label=name) for name, ink, _ in kinds])


def _curves(axes: Axes, curves: Mapping[str, Sequence[float]]) -> None:
    style_axes(axes, "PCK by threshold", "threshold [share of the torso]", "right [%]")
    inks = [as_hex(color) for color in colors.PALETTE]
    for k, (name, values) in enumerate(curves.items()):
        whole = name == "all"
        axes.plot(
            pck2d.THRESHOLDS,
            values,
            color=as_hex(colors.TEXT) if whole else inks[k % len(inks)],
            linewidth=3 if whole else 1.6,
            label=name.replace("_", " "),
        )
    axes.axvline(pck2d.PCK_SHARE, color=as_hex(colors.MUTED), linewidth=1, linestyle=(0, (4, 4)))
    axes.set_xlim(0, pck2d.THRESHOLDS[-1])
    axes.set_ylim(0, 108)  # room for the legend
    axes.set_yticks(range(0, 101, 20))
    axes.legend(
        loc="upper center", ncols=len(curves), frameon=False, labelcolor=as_hex(colors.TEXT),
        fontsize=9, handlelength=1.0, columnspacing=1.2,
    )  # fmt: skip


def _legend(axes: Axes, handles: Sequence[Patch]) -> None:
    axes.legend(
        handles=handles,
        loc="upper left",
        ncols=len(handles),
        frameon=False,
        labelcolor=as_hex(colors.TEXT),
        fontsize=9,
        handlelength=1.0,
        columnspacing=1.2,
    )
