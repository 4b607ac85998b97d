"""The lens model that a calibration file names beside ``distortion_model``, by whichever field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from smap_ros.calibration.calibration import lens_model
from smap_ros.errors import CameraError

# Fields that tell of the lens, without case and underscores. What is called a model of the camera
# or lens may also be the name of a product; a camera_name is never anything else. Older calibrators
# write plumb_bob as distortion_model beside the model that they mean; what names a model, and the
# flags, overrule it, while the others only describe the camera.
_ABOUT_LENS = re.compile("model|type|lens|projection|fisheye|(?<!un)dist(?!ance)")
_OVERRULING = (
    "cameramodel", "lensmodel", "modeltype", "model",
    "distortiontype", "distortionmodeltype", "lensdistortionmodel", "projectionmodel",
    "projectiontype", "cammodel",
)  # fmt: skip
NO_MODEL = ("", "none")  # what says of a lens that there is no model
_FLAGS = ("fisheyemodel", "fisheye", "isfisheye", "usefisheye", "fisheyelens")
# Models of other programs that none of ours is.
_OTHER_MODELS = frozenset({
    "inverse_brown_conrady", "modified_brown_conrady",  # librealsense
    "radial_fisheye", "simple_radial_fisheye", "thin_prism_fisheye",  # COLMAP
    "mei", "omni", "omnidir", "omnidirectional", "ucm", "eucm", "ds", "double_sphere",
    "fov", "division", "ftheta", "f_theta", "ocam", "scaramuzza",
    "equirectangular", "spherical", "stereographic", "orthographic", "equisolid",
})  # fmt: skip
_DISTORTION_MODEL = "distortionmodel"
_OTHER_CAMERAS = ("xi", "mirrorparameters")


def plain_name(name: str) -> str:
    """A field's name without what programs spell differently."""
    return name.lower().replace("_", "")


def stated_model(content: Mapping[str, Any]) -> Any:
    """What ``distortion_model`` says, however it is spelt; empty where it isn't stated."""
    for name, value in content.items():
        if plain_name(str(name)) == _DISTORTION_MODEL and value is not None:
            return value
    return ""


def named_model(content: Mapping[str, Any]) -> tuple[str, str]:
    """The field beside, or instead of, distortion_model that names a lens model; and which.

    One that is stated is overruled by a flag, or by what is called a model of the camera or lens.

    Returns:
        Its name, and ``equidistant`` or a model that we don't have; both empty where none names one
        but OpenCV's usual.

    Raises:
        CameraError: if it may name a fisheye, and nothing says whether it does.
    """
    stated = stated_model(content)
    is_stated = isinstance(stated, str) and stated.strip().lower() not in NO_MODEL
    for name, value in content.items():
        plain = plain_name(str(name))
        if plain in _FLAGS and is_true(value):
            return str(name), "equidistant"
        tells = plain in _OVERRULING if is_stated else bool(_ABOUT_LENS.search(plain))
        if plain == _DISTORTION_MODEL or not tells or not isinstance(value, str):
            continue
        model = lens_model(value.rpartition(".")[2])  # librealsense: distortion.brown_conrady
        if model == "equidistant" or model in _OTHER_MODELS:
            return str(name), model
        if "fisheye" in model and not stated:
            raise CameraError(
                f"{name} is {value!r}, which may be a lens model or the name of a product; state "
                "distortion_model: equidistant (OpenCV's fisheye), or plumb_bob"
            )
    return "", ""


def refuse_other_cameras(content: Mapping[str, Any]) -> None:
    """Refuse cameras whose rays no lens model of ours bends, whatever coefficients stand beside.

    Raises:
        CameraError: naming the fields that tell.
    """
    names = {plain_name(str(name)): str(name) for name, v in content.items() if v is not None}
    found = [names[plain] for plain in _OTHER_CAMERAS if plain in names]
    if not found and {"alpha", "beta"} <= names.keys():
        found = [names["alpha"], names["beta"]]
    if found:
        raise CameraError(
            f"it states {' and '.join(found)}, of an omnidirectional camera (Mei, EUCM, double "
            "sphere), which is not supported; calibrate with the pinhole model, or with fisheye "
            "(equidistant) for wide lenses"
        )


def is_true(value: Any) -> bool:
    """Whether a field says yes, in the ways of YAML, JSON and OpenCV."""
    return str(value).strip().lower() in ("1", "1.0", "true", "yes")
