"""The Foxglove layout for a camera of any frame and namespace."""

from __future__ import annotations

import json
from typing import Any

from smap_ros.errors import InputError, shortened
from smap_ros.graph.parameters import CameraNodeOptions
from smap_ros.paths import config_directory

# What the panels show; topics of other nodes, like /diagnostics, have no namespace.
_OURS = ("/markers", "/meshes", "/poses", "/image_annotated", "/bodies")


def foxglove_layout(frame: str, namespace: str = "") -> str:
    """``config/foxglove/pose3d.json`` for another camera.

    Args:
        frame: of the camera's images, which the view follows.
        namespace: of the nodes.

    Raises:
        InputError: if the frame is empty or has spaces in it: TF knows none of such a name.
    """
    if not frame or any(letter.isspace() or not letter.isprintable() for letter in frame):
        raise InputError(
            f"the frame is {shortened(frame)}; expected the frame_id of the camera's images, a "
            f"name without spaces such as {CameraNodeOptions().frame_id}"
        )
    layout = json.loads((config_directory() / "foxglove" / "pose3d.json").read_text("utf-8"))
    prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
    return json.dumps(_changed(layout, frame, prefix), indent=2) + "\n"


def _changed(part: Any, frame: str, prefix: str) -> Any:
    if isinstance(part, dict):
        return {
            _word(key, frame, prefix): _changed(value, frame, prefix) for key, value in part.items()
        }
    if isinstance(part, list):
        return [_changed(value, frame, prefix) for value in part]
    return _word(part, frame, prefix) if isinstance(part, str) else part


def _word(text: str, frame: str, prefix: str) -> str:
    if text in _OURS:
        return prefix + text
    return frame if text == CameraNodeOptions().frame_id else text
