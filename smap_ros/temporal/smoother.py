"""Raw people in, tracked and smooth people out: what the smoother node runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from smap_ros.bodies import Body
from smap_ros.temporal.one_euro import OneEuroConfig, OneEuroFilter
from smap_ros.temporal.tracker import TrackedBody, Tracker, TrackerConfig


@dataclass(frozen=True)
class SmootherConfig:
    """Settings of tracker and filter.

    Attributes:
        tracker: rules of identity.
        filter: the filter of the joints.
        smooth: False leaves the joints as they were measured.
    """

    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    filter: OneEuroConfig = field(default_factory=OneEuroConfig)
    smooth: bool = True


class BodySmoother:
    """Identities and smooth joints over a stream of frames of one camera.

    Args:
        config: settings.
    """

    def __init__(self, config: SmootherConfig | None = None) -> None:
        self._config = config or SmootherConfig()
        self._tracker = Tracker(self._config.tracker)
        self._filters: dict[int, OneEuroFilter] = {}
        self._used: dict[int, float] = {}  # identity -> time of its filter's last use
        self._time = -math.inf

    @property
    def config(self) -> SmootherConfig:
        """The settings; replacing them keeps the identities."""
        return self._config

    @config.setter
    def config(self, config: SmootherConfig) -> None:
        self._config = config
        self._tracker.config = config.tracker
        for one_euro in self._filters.values():
            one_euro.config = config.filter

    def update(self, bodies: Sequence[Body], time: float) -> list[TrackedBody]:
        """Take the people of a frame; see :meth:`Tracker.update` for times and order.

        Only measured people pass the filter: a prediction must not become evidence.
        """
        if time < self._time:
            self.reset()
        self._time = time
        tracked = self._tracker.update(bodies, time)
        if not self._config.smooth:
            return tracked
        out = [self._smooth(person, time) for person in tracked]
        self._forget(time)
        return out

    def reset(self) -> None:
        """Forget everybody, as at the start of a recording; identities go on counting."""
        self._tracker.reset()
        self._filters.clear()
        self._used.clear()
        self._time = -math.inf

    def _smooth(self, person: TrackedBody, time: float) -> TrackedBody:
        body = person.body
        if person.predicted or body.id is None:
            return person
        if body.id not in self._filters:
            self._filters[body.id] = OneEuroFilter(len(body.skeleton), self._config.filter)
        self._used[body.id] = time
        joints = self._filters[body.id](body.joints_3d, time)
        return replace(person, body=replace(body, joints_3d=joints))

    def _forget(self, time: float) -> None:
        """Drop the filters of people the tracker has forgotten."""
        limit = time - self._config.tracker.death_time
        for identity in [k for k, used in self._used.items() if used < limit]:
            del self._filters[identity], self._used[identity]
