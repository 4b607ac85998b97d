"""From one image to everybody in it, in metres: one estimator per kind of model."""

from smap_ros.estimators.base import Estimator
from smap_ros.estimators.factory import create_estimator

__all__ = ["Estimator", "create_estimator"]
