"""Calibrations that programs with OpenCV write: its FileStorage, in YAML, XML or JSON."""

from __future__ import annotations

import re
from typing import Any

import cv2

from smap_ros.calibration.calibration import Calibration, lens_model
from smap_ros.calibration.lens_fields import coefficients
from smap_ros.calibration.lens_models import named_model, plain_name, stated_model
from smap_ros.errors import CameraError
from smap_ros.markup import whole_number

# Names that programs give the fields, without case and underscores; the samples' own come first.
_MATRIX = ("cameramatrix", "intrinsicmatrix", "intrinsics", "mtx", "k", "m")
_WIDTH, _HEIGHT = ("imagewidth", "width"), ("imageheight", "height")
_SIZE = ("imagesize", "size", "resolution")
# OpenCV's usual model: the number of coefficients tells which of both.
_PLAIN_MODELS = (
    "plumb_bob", "pinhole", "perspective", "opencv", "opencv5", "standard",
    "brown", "thin_prism",
)  # fmt: skip
_PAIR = re.compile(r"(m|k|cameramatrix|d)(1|l|left)$")


def is_storage(text: str) -> bool:
    """Whether a text is a FileStorage."""
    return text.startswith("%YAML:1.0") or "opencv-matrix" in text or "<opencv_storage>" in text


def calibration_from_storage(text: str) -> Calibration:
    """What a FileStorage states.

    Raises:
        CameraError: if it is damaged, or lacks the camera's matrix.
    """
    nodes = _nodes(text)
    pair = [name for key, (name, _) in nodes.items() if _PAIR.match(key)]
    matrix = _matrix(nodes, _MATRIX)
    if matrix is None:
        names = ", ".join(name for name, _ in nodes.values()) or "nothing"
        if pair:
            raise CameraError(
                f"it holds a pair of cameras ({names}); write camera_matrix, "
                "distortion_coefficients, image_width and image_height of the one that took the "
                "images into a file of its own"
            )
        raise CameraError(
            f"it is an OpenCV FileStorage with {names}; expected camera_matrix, "
            "distortion_coefficients, image_width and image_height"
        )
    width, height = _size(nodes)
    lens = coefficients(dict(nodes.values()))
    model = _model(nodes) or ("plumb_bob" if len(lens) <= 5 else "rational_polynomial")
    if model == "equidistant" and not lens:
        raise CameraError("it states a fisheye without coefficients; expected 4 of them")
    return Calibration(width, height, matrix, lens, model)


def _model(nodes: dict[str, tuple[str, Any]]) -> str:
    """The lens model that is stated; empty where none is but OpenCV's usual one."""
    fields = dict(nodes.values())
    if named := named_model(fields)[1]:
        return named
    value = stated_model(fields)
    model = lens_model(value) if isinstance(value, str) else ""
    return "" if model in _PLAIN_MODELS else model


def _nodes(text: str) -> dict[str, tuple[str, Any]]:
    """The fields by their plain name, each with its own name."""
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        names = list(root.keys()) if storage.isOpened() and root.isMap() else []
    except (cv2.error, SystemError) as error:  # the latter is how its constructor fails
        raise CameraError("it is a damaged OpenCV FileStorage; write it again") from error
    # The nodes point into the storage, which has to live as long: read them now.
    return {plain_name(name): (name, _value(root.getNode(name))) for name in names}


def _value(node: Any) -> Any:
    """A node as number, text, list or fields; a matrix as its numbers, row by row.

    Not by OpenCV's ``mat``, which writes beyond its memory where ``cols`` or ``rows`` is missing.
    """
    if node.isReal() or node.isInt():
        return node.real()
    if node.isString():
        return node.string()
    if node.isSeq():
        return [_value(node.at(k)) for k in range(node.size())]
    if node.isMap():
        names = node.keys()
        if "data" in names:
            return _value(node.getNode("data"))
        return {name: _value(node.getNode(name)) for name in names}
    return None


def _matrix(nodes: dict[str, tuple[str, Any]], keys: tuple[str, ...]) -> tuple[float, ...] | None:
    for key in keys:
        name, value = nodes.get(key, ("", None))
        if isinstance(value, list):
            if not all(isinstance(number, float) for number in value):
                raise CameraError(f"{name} holds something else than numbers; expected a matrix")
            return tuple(value)
    return None


def _size(nodes: dict[str, tuple[str, Any]]) -> tuple[int, int]:
    """Width and height; 0 where they aren't stated."""
    for key in _SIZE:
        value = nodes.get(key, ("", None))[1]
        if isinstance(value, list) and len(value) == 2:
            return whole_number(value[0]), whole_number(value[1])
    found = [
        next((whole_number(nodes[key][1]) for key in keys if key in nodes), 0)
        for keys in (_WIDTH, _HEIGHT)
    ]
    return found[0], found[1]
