"""People over time: identities, short gaps, and smooth joints."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smap_ros.temporal.options import OneEuroConfig, SmootherConfig, TrackerConfig
    from smap_ros.temporal.smoother import Answer, BodySmoother, smooth_frames
    from smap_ros.temporal.smoothers import SMOOTHERS, create_smoother
    from smap_ros.temporal.tracker import DETECTIONS_ONLY, TrackedBody, Tracker

# name -> the file that has it
_HOMES = {
    "DETECTIONS_ONLY": "tracker",
    "SMOOTHERS": "smoothers",
    "Answer": "smoother",
    "BodySmoother": "smoother",
    "OneEuroConfig": "options",
    "SmootherConfig": "options",
    "TrackedBody": "tracker",
    "Tracker": "tracker",
    "TrackerConfig": "options",
    "create_smoother": "smoothers",
    "smooth_frames": "smoother",
}

__all__ = [
    "DETECTIONS_ONLY",
    "SMOOTHERS",
    "Answer",
    "BodySmoother",
    "OneEuroConfig",
    "SmootherConfig",
    "TrackedBody",
    "Tracker",
    "TrackerConfig",
    "create_smoother",
    "smooth_frames",
]


def __getattr__(name: str) -> Any:
    """Imported when used: a command's help needs the options alone, without numpy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
