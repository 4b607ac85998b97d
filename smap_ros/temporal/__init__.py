"""People over time: identities, short gaps, and smooth joints."""

from smap_ros.temporal.smoother import Answer, BodySmoother, SmootherConfig
from smap_ros.temporal.smoothers import SMOOTHERS, create_smoother
from smap_ros.temporal.smoothers.one_euro import OneEuroConfig
from smap_ros.temporal.tracker import DETECTIONS_ONLY, TrackedBody, Tracker, TrackerConfig

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
]
