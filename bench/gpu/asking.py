"""What the steps of the window share: where answers go, and how times are taken."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.engines.cuda import Gpu


class Missing(Exception):  # noqa: N818 - not an error: a step that can't be asked here
    """What a step needs isn't there."""


class Asked:
    """A step's answers, on disk as soon as they are known: it may be ended at any time.

    Args:
        path: file of them.
        device: number of the GPU.
        dry: rehearsal: as little as possible.
    """

    def __init__(self, path: Path, device: int = 0, dry: bool = False) -> None:
        self.path, self.device, self.dry = path, device, dry
        self.told: dict[str, Any] = {}

    def tell(self, **answers: Any) -> None:
        """Add answers; dicts are added to the dict that is there."""
        for name, value in answers.items():
            known = self.told.get(name)
            both = isinstance(known, dict) and isinstance(value, dict)
            self.told[name] = {**known, **value} if both and known else value
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.told, indent=1))
        os.replace(temporary, self.path)

    def count(self, real: int, rehearsed: int = 2) -> int:
        """How often something is done."""
        return rehearsed if self.dry else real


def event_times_us(gpu: Gpu, stream: Any, work: Callable[[], None], runs: int) -> dict[str, float]:
    """Microseconds between two events about some work, median and 99th percentile."""
    start, end, spent = gpu.event(), gpu.event(), []
    for _ in range(runs):
        gpu.record(start, stream)
        work()
        gpu.record(end, stream)
        gpu.wait(stream)
        spent.append(gpu.elapsed_ms(start, end) * 1e3)
    return summary(spent)


def summary(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"median": float(np.median(values)), "p99": float(np.percentile(values, 99))}
