"""The lens of a calibration file: which fields are read as its coefficients, and which can't be.

A lens that is overlooked gives distances that nobody would doubt, so that what looks like one and
isn't read is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from smap_ros.calibration.calibration import lens_model
from smap_ros.calibration.lens_models import (
    NO_MODEL,
    named_model,
    plain_name,
    refuse_other_cameras,
    stated_model,
)
from smap_ros.camera import DISTORTION_MODELS
from smap_ros.errors import CameraError, shortened

# Names that programs give the coefficients, without case and underscores; the samples' own first.
LENS_NAMES = (
    "distortioncoefficients", "distcoeffs", "distortion", "dist", "d", "distcoeff", "distcoefs",
    "distcoef", "distortioncoeffs", "distortioncoeff", "distortioncoefs",
)  # fmt: skip
_READ = "distortion_coefficients, distortion_coeffs, dist_coeffs, dist_coeff, distortion, dist, D"
# One by one, in OpenCV's order: of its usual lens, its rational one, and a fisheye.
_PLAIN, _RATIONAL = ("k1", "k2", "p1", "p2", "k3"), ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE = ("k1", "k2", "k3", "k4")
_LIKE_LISTS = re.compile("(?<!un)dist(?!ance)|coef|radial|tangential|fisheye")
_LIKE_NUMBERS = re.compile(r"^[kp]\d$")
_MAYBE_DISTANCE = ("d", "dist")
_DIGITS = re.compile(r"(?<!\w)[-+]?\.?\d")  # not those of a word: kannala_brandt4


def coefficients(content: Mapping[str, Any], *, one_by_one: bool = False) -> tuple[float, ...]:
    """The coefficients of the lens that a file states, in OpenCV's order; empty without any.

    Args:
        content: fields of a file by their own names, matrices as lists or as ROS writes them.
        one_by_one: whether ``k1``, ``k2``, ``p1``, ``p2``, ... are read, too.

    Raises:
        CameraError: if it states two different ones, has fields that look like coefficients and
            aren't read, states a lens model without coefficients, or is for another kind of camera.
    """
    refuse_other_cameras(content)
    fields = {name: value for name, value in content.items() if value is not None}
    _refuse_text(fields)
    stated = [
        floats(_stated(str(name), value))
        for name, value in fields.items()
        # A word is something else: the name of a model.
        if plain_name(str(name)) in LENS_NAMES and isinstance(value, list | tuple | Mapping)
    ]
    if one_by_one and (single := _one_by_one(fields)):
        stated.append(single)
    if len({_without_last_zeros(numbers) for numbers in stated if numbers}) > 1:
        raise CameraError(
            "it states different coefficients of the lens in several fields; keep one"
        )
    if not any(stated):
        _refuse_unread(fields, one_by_one)
    if not stated:
        _refuse_bare_model(fields)
    return max(stated, key=len, default=())


def _refuse_text(fields: Mapping[str, Any]) -> None:
    """Coefficients without their brackets are a text to YAML."""
    for name, value in fields.items():
        named = plain_name(str(name)) in LENS_NAMES and isinstance(value, str)
        if named and _DIGITS.search(value):
            raise CameraError(
                f"{name} is the text {shortened(value)}; expected a list of coefficients in "
                "OpenCV's order. Put them in brackets, with commas: [-0.1, 0.01, 0, 0, 0]"
            )


def _stated(name: str, value: Any) -> Any:
    if isinstance(value, Mapping) and "data" not in value:
        raise CameraError(
            f"{name} has fields {', '.join(map(str, value))}; expected a list of coefficients in "
            "OpenCV's order"
        )
    return matrix_data(value)


def _without_last_zeros(numbers: tuple[float, ...]) -> tuple[float, ...]:
    last = max((k for k, number in enumerate(numbers, start=1) if number), default=0)
    return numbers[:last]


def matrix_data(matrix: Any) -> Any:
    """The numbers of a matrix as ROS writes it (rows, cols, data), or as plain lists."""
    if matrix is None:
        return ()
    return matrix["data"] if isinstance(matrix, Mapping) else matrix


def floats(values: Any) -> tuple[float, ...]:
    """The numbers of a list, or of a list of rows.

    Raises:
        TypeError, ValueError: if it is something else.
    """
    if isinstance(values, str | bytes):
        raise ValueError(f"expected a list of numbers, got {values!r}")
    flat: list[float] = []
    for value in values:
        flat += map(float, value) if isinstance(value, list | tuple) else [float(value)]
    return tuple(flat)


def _one_by_one(fields: Mapping[str, Any]) -> tuple[float, ...]:
    """Coefficients that have a field each; what is left out of the usual lens is 0."""
    single = {name: value for name, value in fields.items() if _LIKE_NUMBERS.search(str(name))}
    orders = ((_FISHEYE, True),) if _is_fisheye(fields) else ((_PLAIN, False), (_RATIONAL, True))
    for names, whole in orders:
        if set(single) <= set(names) and (len(single) == len(names) or not whole):
            return floats([single.get(name, 0.0) for name in names]) if single else ()
    return ()


def _is_fisheye(fields: Mapping[str, Any]) -> bool:
    return "equidistant" in (lens_model(stated_model(fields)), named_model(fields)[1])


def _refuse_unread(fields: Mapping[str, Any], one_by_one: bool) -> None:
    fisheye = named_model(fields)[1] == "equidistant"
    unread = [
        str(name)
        for name, value in ((name, _untexted(value)) for name, value in fields.items())
        if _like_a_lens(str(name), value) and (fisheye or not _is_zero(value))
    ]
    if unread and one_by_one and _is_fisheye(fields) and all(map(_LIKE_NUMBERS.search, unread)):
        who = named_model(fields)[0] or "distortion_model"
        single = [name for name in map(str, fields) if _LIKE_NUMBERS.search(name)]
        raise CameraError(
            f"{', '.join(single)} may be of the lens, but {who} says that it is a fisheye; "
            f"expected all of {', '.join(_FISHEYE)}. Correct {who} if it is no fisheye"
        )
    if unread:
        more = " (or k1, k2, p1, p2, k3, ... of a known order)" if one_by_one else ""
        raise CameraError(
            f"{', '.join(unread)} may be of the lens, but such fields aren't read; expected "
            f"the coefficients in OpenCV's order as one of {_READ}{more}. Rename them, or take "
            "them out if there is no lens to undo"
        )


def _untexted(value: Any) -> Any:
    """Numbers that are a text, as PyYAML reads 1e-3 and what has no brackets, as numbers."""
    if isinstance(value, str):
        words = [word for word in re.split(r"[\s,;()\[\]{}]+", value) if word]
        with suppress(ValueError):
            numbers = [float(word) for word in words]
            return numbers[0] if len(numbers) == 1 else numbers
    return value


def _is_zero(value: Any) -> bool:
    """Whether it is zero, or a list of zeros: but for a fisheye such a lens bends nothing."""
    with suppress(TypeError, ValueError, KeyError):
        return not any(floats([value] if isinstance(value, int | float) else matrix_data(value)))
    return False


def _like_a_lens(name: str, value: Any) -> bool:
    if isinstance(value, list | tuple | Mapping):
        return bool(value) and bool(_LIKE_LISTS.search(plain_name(name)))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    plain = plain_name(name)
    lens = plain in LENS_NAMES and plain not in _MAYBE_DISTANCE
    return number and (lens or bool(_LIKE_NUMBERS.search(plain)))


def _refuse_bare_model(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if plain_name(str(name)) != "distortionmodel" or str(value).strip().lower() in NO_MODEL:
            continue
        if lens_model(value) in DISTORTION_MODELS:
            raise CameraError(
                f"{name} is {value!r}, but there are no coefficients; expected them as one of "
                f"{_READ}, [] where there is no lens to undo"
            )
