"""Whether the stamp of an image and a clock belong together, and the latency if they do."""

from __future__ import annotations

import math

# Clocks of two machines differ by less where they are synchronised, and /clock comes in steps.
AHEAD = 0.5  # seconds
BEHIND = 10.0  # seconds; no live image is that old


def belong_together(age: float) -> bool:
    """Whether a clock that is so many seconds later than a stamp can be the one it is from."""
    return -AHEAD <= age <= BEHIND


def latency_ms(stamp: float, clock: float) -> float:
    """Milliseconds since a stamp; NaN where stamp and clock don't belong together.

    Args:
        stamp: seconds; 0 is none.
        clock: the time now, seconds.
    """
    age = clock - stamp
    return max(0.0, age) * 1e3 if stamp and belong_together(age) else math.nan
