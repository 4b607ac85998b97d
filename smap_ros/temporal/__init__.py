"""People over time: identities, short gaps, and smooth joints."""

from smap_ros.temporal.options import OneEuroConfig, SmootherConfig, TrackerConfig
from smap_ros.temporal.smoother import Answer, BodySmoother
from smap_ros.temporal.smoothers import SMOOTHERS, create_smoother
from smap_ros.temporal.tracker import DETECTIONS_ONLY, TrackedBody, Tracker

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
