"""How latencies stand in /diagnostics, whose values are texts: written by nodes, read from bags."""

from __future__ import annotations

import math
from collections.abc import Mapping

WINDOW = 10.0  # seconds over which nodes take them
# For people who read percentiles of a bag: those of stages aren't of all of it.
OF_STAGES = f"of stages: pose3d_node's last {WINDOW:g} s"

_P50, _P95 = " p50 [ms]", " p95 [ms]"


def stage_values(stage: str, p50: float, p95: float, digits: int = 2) -> dict[str, str]:
    """The diagnostic values of a stage.

    Args:
        stage: its name.
        p50, p95: median and 95th percentile, milliseconds; NaN where nothing was measured.
        digits: after the point.
    """
    return {f"{stage}{_P50}": f"{p50:.{digits}f}", f"{stage}{_P95}": f"{p95:.{digits}f}"}


def stage_latency(values: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile in milliseconds by stage, from a node's diagnostic values.

    Stages that weren't measured are left out, and what other nodes say under such names that
    isn't a number.
    """
    stages = [key.removesuffix(_P50) for key in values if key.endswith(_P50)]
    found = {
        stage: (_number(values[stage + _P50]), _number(values.get(stage + _P95, "")))
        for stage in stages
    }
    return {stage: pair for stage, pair in found.items() if math.isfinite(sum(pair))}


def _number(text: str) -> float:
    """The number that a text states; NaN if it states none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
