"""Real-time, multi-person, absolute 3D human pose for ROS 2 robots from one RGB camera.

What is in ``__all__`` is the package's public face and is kept; all else may change. The names are
imported when they are first used, so that ``import smap_ros`` costs nothing and needs no runtime.

Examples:
    Everybody in the first image of the shipped clip, nearest first:

    >>> from smap_ros import Camera, create_estimator, open_source
    >>> from smap_ros.paths import config_directory
    >>> frame = next(iter(open_source(str(config_directory() / "demo" / "clip.mp4"))))
    >>> camera = Camera.for_image(frame.image, fov_deg=60, pixel_aspect=frame.pixel_aspect)
    >>> people = create_estimator("smap_lite").estimate(frame.image, camera, frame.stamp)
    >>> all(body.root[2] > 0 for body in people)
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from smap_ros.privacy import keep_private

if TYPE_CHECKING:
    from smap_ros.bodies import Body, BodyFrame
    from smap_ros.bundles.bundle import load_bundle
    from smap_ros.camera import Camera
    from smap_ros.estimators.factory import create_estimator
    from smap_ros.sources import open_source

__version__ = "0.1.0"

__all__ = [
    "Body",
    "BodyFrame",
    "Camera",
    "__version__",
    "create_estimator",
    "load_bundle",
    "open_source",
]

_HOMES = {
    "Body": "smap_ros.bodies",
    "BodyFrame": "smap_ros.bodies",
    "Camera": "smap_ros.camera",
    "create_estimator": "smap_ros.estimators.factory",
    "load_bundle": "smap_ros.bundles.bundle",
    "open_source": "smap_ros.sources",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'smap_ros' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names too, though they are not imported yet."""
    return sorted({*globals(), *_HOMES})


keep_private()
