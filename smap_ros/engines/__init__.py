"""Inference runtimes behind one protocol; a bundle never knows which one runs it."""

from smap_ros.engines.base import Engine, TensorSpec
from smap_ros.engines.factory import available_engines, create_engine

__all__ = ["Engine", "TensorSpec", "available_engines", "create_engine"]
