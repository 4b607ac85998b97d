"""People over time: identities, short gaps, and smooth joints."""

from smap_ros.temporal.one_euro import OneEuroConfig, OneEuroFilter
from smap_ros.temporal.smoother import BodySmoother, SmootherConfig
from smap_ros.temporal.tracker import DETECTIONS_ONLY, TrackedBody, Tracker, TrackerConfig

__all__ = [
    "DETECTIONS_ONLY",
    "BodySmoother",
    "OneEuroConfig",
    "OneEuroFilter",
    "SmootherConfig",
    "TrackedBody",
    "Tracker",
    "TrackerConfig",
]
