"""Inference runtimes behind one protocol; a bundle never knows which one runs it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smap_ros.engines.base import Engine, TensorSpec
    from smap_ros.engines.factory import available_engines, create_engine

__all__ = ["Engine", "TensorSpec", "available_engines", "create_engine"]


def __getattr__(name: str) -> Any:
    """Imported when used: a command's help needs the runtimes' names alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "base" if name in ("Engine", "TensorSpec") else "factory"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
