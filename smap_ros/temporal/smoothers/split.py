"""One-euro filters on viewing direction, depth and pose apart.

One camera tells a person's direction to a fraction of a degree, the depth to some percent and
the pose to some centimetres. A filter on coordinates must be as slow as the depth needs or as
fast as the pose needs; here each has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from smap_ros.temporal.options import OneEuroConfig
from smap_ros.temporal.smoothers.base import Float, Seen, joined_position, split_position
from smap_ros.temporal.smoothers.one_euro import OneEuroFilter

_DIRECTION = OneEuroConfig(min_cutoff=1.0, beta=10.0)
_DEPTH = OneEuroConfig(min_cutoff=0.1, beta=1.0)
_POSE = OneEuroConfig(min_cutoff=1.0, beta=2.0)


@dataclass(frozen=True)
class SplitConfig:
    """Settings of the three filters; see :class:`OneEuroConfig`.

    Attributes:
        direction: of the ray to the pelvis, x/z and y/z; ``beta`` is in hertz per unit/second.
        depth: of the logarithm of its depth; ``beta`` is in hertz per unit/second.
        pose: of the joints about the pelvis; ``beta`` per metre/second.
    """

    direction: OneEuroConfig = _DIRECTION
    depth: OneEuroConfig = _DEPTH
    pose: OneEuroConfig = _POSE


class SplitSmoother:
    """See ``Smoother``, and the head of this file."""

    delay = 0

    def __init__(self, joints: int, config: SplitConfig | None = None) -> None:
        config = config or SplitConfig()
        self._direction = OneEuroFilter(1, 2, config.direction)
        self._depth = OneEuroFilter(1, 1, config.depth)
        self._pose = OneEuroFilter(joints, 3, config.pose)

    def update(self, seen: Seen) -> Float:
        """See :meth:`Smoother.update`."""
        direction, log_depth, about = split_position(seen.joints, seen.root)
        return joined_position(
            self._direction(seen.ids, direction, seen.time),
            self._depth(seen.ids, log_depth, seen.time),
            self._pose(seen.ids, about, seen.time),
        )

    def flush(self) -> list[Float]:
        """Nothing is ever due."""
        return []

    def reset(self) -> None:
        """See :meth:`Smoother.reset`."""
        for part in (self._direction, self._depth, self._pose):
            part.reset()
