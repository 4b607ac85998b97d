"""Calibration files of the programs that people calibrate with, all read into one form.

ROS ``camera_calibration``, a dumped CameraInfo, OpenCV's FileStorage (YAML, XML, JSON), kalibr's
camera chains and the sensor files of the same authors. Others are refused with what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smap_ros.calibration.calibration import Calibration, lens_model
from smap_ros.calibration.lens_fields import coefficients, floats, matrix_data
from smap_ros.calibration.lens_models import named_model, stated_model
from smap_ros.calibration.opencv_storage import calibration_from_storage, is_storage
from smap_ros.errors import CameraError
from smap_ros.markup import whole_number, yaml_documents

LARGEST = 2**22  # bytes; a calibration has a few hundred

FORMATS = (
    "camera_calibration of ROS (image_width, camera_matrix, ...), a CameraInfo (width, k, ...), "
    "OpenCV's FileStorage, kalibr (intrinsics, resolution), or plain fields (width, height, fx, "
    "fy, cx, cy, k1, ...)"
)

_SIZES = (("width", "height"), ("image_width", "image_height"))  # beside fx and fy

_Reader = Callable[[Mapping[str, Any]], Calibration]


def read_calibration(path: Path | str) -> Calibration:
    """What a calibration file states.

    Raises:
        CameraError: if it can't be read, is of no known form, lacks a field, or is for a kind of
            camera that isn't supported.
    """
    path = Path(path)
    text = _text(path)
    try:
        if is_storage(text):
            return calibration_from_storage(text)
        content = _yaml(text)
        reader = _reader(content, text)
        return reader(content)
    except CameraError as error:
        raise CameraError(f"calibration {path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        missing = f"has no {error}" if isinstance(error, KeyError) else f"is malformed ({error})"
        raise CameraError(f"calibration {path} {missing}; expected {FORMATS}") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise CameraError(
                f"{path} has {path.stat().st_size} bytes; expected a calibration file: {FORMATS}"
            )
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CameraError(f"can't read the calibration {path}: {reason}") from error


def _yaml(text: str) -> Mapping[str, Any]:
    """The first document that says anything; `ros2 topic echo` ends each with a line of ---."""
    try:
        documents = yaml_documents(text)
    except ValueError as error:
        raise CameraError(f"{_other_format(text) or error}; expected {FORMATS}") from error
    if not documents or not isinstance(documents[0], Mapping):
        raise CameraError(f"{_other_format(text) or 'it holds no fields'}; expected {FORMATS}")
    return documents[0]


def _other_format(text: str) -> str:
    """What a file that we don't read is, where its beginning tells."""
    if "oST version" in text or re.search(r"^\[image\]", text, re.MULTILINE):
        return (
            "it is the .ini form of camera_calibration: convert it with "
            "`ros2 run camera_calibration_parsers convert calibration.ini calibration.yaml`"
        )
    if text.lstrip().startswith("<"):
        return "it is XML, but not OpenCV's"
    return ""


def _reader(content: Mapping[str, Any], text: str) -> _Reader:
    keys = set(content)
    if "camera_matrix" in keys:
        return _from_camera_calibration
    if {"width", "height"} <= keys and ("k" in keys or "K" in keys):
        return _from_camera_info
    if any(re.fullmatch(r"cam\d+", str(key)) for key in keys):
        return _from_camera_chain
    if "intrinsics" in keys:
        return _from_kalibr
    if {"fx", "fy", "cx", "cy"} <= keys and any(keys.issuperset(size) for size in _SIZES):
        return _from_intrinsics
    named = ", ".join(map(str, list(content)[:6]))
    raise CameraError(f"{_other_format(text) or f'it holds {named}'}; expected {FORMATS}")


def _from_camera_calibration(content: Mapping[str, Any]) -> Calibration:
    lens = coefficients(content)
    return Calibration(
        whole_number(content["image_width"]),
        whole_number(content["image_height"]),
        floats(matrix_data(content["camera_matrix"])),
        lens,
        _stated_lens(content, lens),
        floats(matrix_data(content.get("projection_matrix"))),
    )


def _stated_lens(content: Mapping[str, Any], lens: tuple[float, ...]) -> str:
    """The lens model; older calibrators say `camera_model: fisheye` beside, or instead."""
    model = lens_model(stated_model(content))
    field, named = named_model(content)
    if not field:
        return model
    if named != "equidistant":  # refused by Camera, but where Brown's bends nothing
        return model if "brown" in named and not any(lens) else named
    if model not in ("plumb_bob", "equidistant") or len(lens) != 4:
        raise CameraError(
            f"{field} is {content[field]!r}, but the distortion is {model} with "
            f"{len(lens)} coefficients; expected equidistant with 4"
        )
    return "equidistant"


def _from_camera_info(content: Mapping[str, Any]) -> Calibration:
    def field(name: str) -> Any:
        return content.get(name, content.get(name.upper(), ()))

    lens = coefficients(content)
    roi = content.get("roi") or {}
    return Calibration(
        whole_number(content["width"]),
        whole_number(content["height"]),
        floats(field("k")),
        lens,
        _stated_lens(content, lens),
        floats(field("p")),
        (
            whole_number(roi.get("x_offset", 0)),
            whole_number(roi.get("y_offset", 0)),
            whole_number(roi.get("width", 0)),
            whole_number(roi.get("height", 0)),
        ),
        (
            max(1, whole_number(content.get("binning_x", 1))),
            max(1, whole_number(content.get("binning_y", 1))),
        ),
    )


def _from_camera_chain(content: Mapping[str, Any]) -> Calibration:
    cameras = {name: value for name, value in content.items() if re.fullmatch(r"cam\d+", str(name))}
    if len(cameras) > 1:
        named = ", ".join(f"{k} ({v.get('rostopic', 'no topic')})" for k, v in cameras.items())
        raise CameraError(
            f"it is kalibr's chain of {len(cameras)} cameras: {named}; leave the one that took "
            "the images in a file of its own"
        )
    (camera,) = cameras.values()
    return _from_kalibr(camera)


def _from_kalibr(content: Mapping[str, Any]) -> Calibration:
    kind = str(content.get("camera_model", "pinhole"))
    if kind != "pinhole":
        raise CameraError(
            f"its camera_model is {kind!r}, which is not supported; calibrate with the model "
            "pinhole-radtan, or pinhole-equi for wide lenses"
        )
    fx, fy, cx, cy = map(float, content["intrinsics"])
    width, height = content["resolution"]
    lens = coefficients(content)
    return Calibration(
        whole_number(width),
        whole_number(height),
        (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0),
        lens,
        _stated_lens(content, lens),
    )


def _from_intrinsics(content: Mapping[str, Any]) -> Calibration:
    """As ``camera`` in bodies.json, which has no lens; others write one beside."""
    fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
    k = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    lens = coefficients(content, one_by_one=True)
    model = _stated_lens(content, lens)
    if len(lens) > 5 and model == "plumb_bob" and not stated_model(content):
        model = "rational_polynomial"
    return Calibration(*_plain_size(content), k, lens, model)


def _plain_size(content: Mapping[str, Any]) -> tuple[int, int]:
    sizes = {
        (whole_number(content[width]), whole_number(content[height]))
        for width, height in _SIZES
        if width in content and height in content
    }
    if len(sizes) > 1:
        named = " and ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise CameraError(f"it states the sizes {named}; keep the one that fx and fy are for")
    (size,) = sizes
    return size
