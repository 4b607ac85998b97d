"""How the graph is, from the values on /diagnostics."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from smap_ros.bags.stages import stage_latency


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Vitals:
    """What one node says of itself.

    Attributes:
        node: its name, with the namespace.
        level: how well it is.
        message: in its own words, what is wrong.
        model: what runs, on which engine; empty where the node runs none.
        rate_in, rate_out: images per second; NaN where not said.
        dropped, rejected: frames since the start; None where not said.
        stages_ms: median and 95th percentile by stage, milliseconds.
    """

    node: str
    level: Level
    message: str
    model: str = ""
    rate_in: float = math.nan
    rate_out: float = math.nan
    dropped: int | None = None
    rejected: int | None = None
    stages_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def from_status(cls, status: Any) -> Vitals:
        """From a DiagnosticStatus, whoever made the object: rclpy, or a bag's type store."""
        values = {entry.key: entry.value for entry in status.values}
        level = status.level if isinstance(status.level, int) else status.level[0]
        return cls(
            node=status.hardware_id or status.name.partition(":")[0],
            level=Level(min(max(level, 0), Level.STALE)),
            message=status.message,
            model=values.get("model", ""),
            rate_in=_number(values.get("rate in [Hz]")),
            rate_out=_number(values.get("rate out [Hz]")),
            dropped=_count(values.get("frames dropped")),
            rejected=_count(values.get("frames rejected")),
            stages_ms=stage_latency(values),
        )


def _number(text: str | None) -> float:
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def problem(vitals: Iterable[Vitals]) -> Vitals | None:
    """The worst that is wrong now; of equals the first, which is the first in the graph."""
    bad = [v for v in vitals if v.level is not Level.OK]
    return max(bad, key=lambda v: (v.level is Level.ERROR, v.level), default=None)


_COLORS = {Level.OK: "#2e9e5b", Level.WARN: "#c98a00", Level.ERROR: "#d64545", Level.STALE: "#888"}
_LAST = ("besides network", "latency")  # sums, told after the stages
_CELL = "padding:1px 8px 1px 0;white-space:nowrap;vertical-align:top"


def panel(vitals: Sequence[Vitals], facts: Mapping[str, str] | None = None) -> str:
    """The state of the graph as HTML; all texts are escaped.

    Args:
        vitals: of the nodes, in the order of the graph.
        facts: further lines, shown first.
    """
    worst = problem(vitals)
    parts = []
    if worst is not None:
        parts.append(_banner(worst.level, f"{worst.node}: {worst.message}"))
    elif vitals:
        parts.append(_banner(Level.OK, "running"))
    rows = [(name, value) for name, value in (facts or {}).items() if value]
    if not any(name == "model" for name, _ in rows):
        rows += [("model", one.model) for one in vitals if one.model]
    if rows:
        parts.append(_table(rows))
    rates = [row for one in vitals if (row := _rates(one))]
    if rates:
        parts.append(_table([("", "in, Hz", "out, Hz", "lost"), *rates]))
    return _box(parts)


def latency(vitals: Sequence[Vitals]) -> str:
    """Milliseconds by stage as HTML, of the nodes that run a model; "" where none says."""
    rows = [row for one in vitals if one.model for row in _stage_rows(one)]
    return _box([_table([("ms", "median", "95 %"), *rows])]) if rows else ""


def _rates(one: Vitals) -> tuple[str, ...]:
    """A node's rates and the frames it lost, as far as it says; () if it says nothing."""
    numbers = [f"{rate:.1f}" if math.isfinite(rate) else "" for rate in (one.rate_in, one.rate_out)]
    counts = [count for count in (one.dropped, one.rejected) if count is not None]
    name = one.node.rpartition("/")[2].removesuffix("_node")
    return (name, *numbers, str(sum(counts)) if counts else "") if any(numbers) else ()


def _stage_rows(one: Vitals) -> list[tuple[str, ...]]:
    stages = sorted(one.stages_ms.items(), key=lambda item: item[0] in _LAST)
    return [
        (name, f"{p50:.1f}", f"{p95:.1f}")
        for name, (p50, p95) in stages
        if math.isfinite(p50 + p95)
    ]


def _banner(level: Level, text: str) -> str:
    return (
        f'<div style="border-left:4px solid {_COLORS[level]};padding:2px 8px;margin:4px 0">'
        f"<b>{level.name}</b> {html.escape(text)}</div>"
    )


def _box(parts: Sequence[str]) -> str:
    return '<div style="padding:4px 12px;font-size:0.85em">' + "".join(parts) + "</div>"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = []
    for name, *values in rows:
        cells = [f'<td style="{_CELL};opacity:0.65">{html.escape(name)}</td>']
        cells += [f'<td style="text-align:right">{html.escape(value)}</td>' for value in values]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table style="width:100%;border-spacing:0;margin:4px 0">{"".join(lines)}</table>'
