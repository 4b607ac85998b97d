"""From one image to everybody in it, in metres: one estimator per kind of model."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smap_ros.estimators.base import Estimator
    from smap_ros.estimators.factory import create_estimator

__all__ = ["Estimator", "create_estimator"]


def __getattr__(name: str) -> Any:
    """Imported when used: a command's help needs the models' options alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "base" if name == "Estimator" else "factory"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
