"""A calibration's lens is read under the names that programs give it, or the file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smap_ros.calibration import read_calibration
from smap_ros.camera import Camera
from smap_ros.errors import CameraError
from tests.calibration.test_files import (
    FISHEYE,
    LENS_FIELDS,
    OPENCV_K,
    PLAIN,
    RADTAN,
    storage_text,
)

K = [[600.0, 0, 320], [0, 610, 240], [0, 0, 1]]
FORMS = {
    "ROS": {"image_width": 640, "image_height": 480, "camera_matrix": K},
    "CameraInfo": {"width": 640, "height": 480, "K": K},
    "kalibr": {"intrinsics": [600, 610, 320, 240], "resolution": [640, 480]},
    "flat": {"width": 640, "height": 480, "fx": 600, "fy": 610, "cx": 320, "cy": 240},
    "flat, ROS": {
        "image_width": 640, "image_height": 480, "fx": 600, "fy": 610, "cx": 320, "cy": 240
    },
}  # fmt: skip
BARE = Camera(640, 480, 600, 610, 320, 240)
FOUR, FIVE = list(RADTAN.distortion), list(PLAIN.distortion)
FISH = list(FISHEYE.distortion)


def read(folder: Path, form: str, **fields) -> Camera:
    path = folder / "camera.json"
    if form == "storage":
        size = {"image_width": 640, "image_height": 480}
        lists = {k: np.array(v) if isinstance(v, list) else v for k, v in fields.items()}
        path.write_text(storage_text(camera_matrix=OPENCV_K, **size, **lists))
    else:
        path.write_text(json.dumps({**FORMS[form], **fields}))
    return read_calibration(path).camera()


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize("name", LENS_FIELDS)
def test_the_lens_is_read_by_its_usual_names_in_every_form(tmp_path, form, name):
    assert read(tmp_path, form, **{name: FOUR}) == RADTAN
    assert read(tmp_path, form, **{name: FOUR, "dist_params": [1.0]}) == RADTAN


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize("name", ["distortion_params", "coeffs", "radial_distortion", "lens_coefs"])
def test_what_may_be_a_lens_and_is_not_read_is_refused(tmp_path, form, name):
    with pytest.raises(CameraError, match=rf"{name} may be of the lens, .* distortion_coeff"):
        read(tmp_path, form, **{name: FOUR})
    # Of other kinds it is something else.
    assert read(tmp_path, form, **{name: "plumb_bob"}) == BARE


@pytest.mark.parametrize("form", ["ROS", "CameraInfo", "kalibr", "storage"])
def test_coefficients_one_by_one_are_refused_where_they_are_not_read(tmp_path, form):
    with pytest.raises(CameraError, match="k1, p1 may be of the lens"):
        read(tmp_path, form, k1=-0.1, p1=0.001)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"k1": -0.1, "k2": 0.01, "p1": 0, "p2": 0, "k3": 0}, PLAIN),
        ({"p2": 0, "k2": 0.01, "k1": -0.1}, PLAIN),
        ({"k1": -0.1, "k2": 0.01, "distortion_model": "plumb_bob"}, PLAIN),
        (dict(zip(("k1", "k2", "k3", "k4"), FISH, strict=True), camera_model="fisheye"), FISHEYE),
        (dict(zip(("k1", "k2", "k3", "k4"), FISH, strict=True), distortion_model="equi"), FISHEYE),
        ({"distortion": FISH, "lens_model": "fisheye"}, FISHEYE),
        ({"k1": 0, "k2": 0, "p1": 0, "p2": 0}, BARE),
    ],
)
def test_coefficients_beside_fx_and_fy_are_read(tmp_path, fields, expected):
    assert read(tmp_path, "flat", **fields) == expected
    assert read(tmp_path, "flat, ROS", **fields) == expected


def test_eight_coefficients_are_those_of_the_rational_lens(tmp_path):
    order = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    eight = dict(zip(order, (-0.1, 0.01, 0.001, 0.002, 0.003, 0.01, 0.02, 0.03), strict=True))
    camera = read(tmp_path, "flat", **eight)
    assert camera.distortion_model == "rational_polynomial"
    assert camera.distortion == tuple(eight.values())


@pytest.mark.parametrize("names", [("k1", "k2", "k3", "k4"), ("k1", "k4"), ("k1", "p3")])
def test_coefficients_of_an_order_that_is_not_known_are_refused(tmp_path, names):
    with pytest.raises(CameraError, match=f"{', '.join(names)} may be of the lens, .*known order"):
        read(tmp_path, "flat", **dict.fromkeys(names, 0.01))


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize("model", ["plumb_bob", "radtan", "equidistant", "rational_polynomial"])
def test_a_lens_model_without_coefficients_is_refused(tmp_path, form, model):
    with pytest.raises(CameraError, match=r"without coefficients|are no coefficients"):
        read(tmp_path, form, distortion_model=model)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_may_say_that_there_is_no_lens(tmp_path, form):
    """So does a CameraInfo of a simulator."""
    assert read(tmp_path, form) == read(tmp_path, form, d=[], distortion_model="plumb_bob") == BARE
    assert read(tmp_path, form, distortion_model="none") == BARE
    assert read(tmp_path, form, D=[0.0] * 5, max_distance=9.0) == BARE


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("none", ["none", "None", " "])
def test_no_lens_model_leaves_the_word_to_other_fields(tmp_path, form, none):
    fisheye = {"distortion_model": none, "lens_type": "fisheye"}
    assert read(tmp_path, form, distortion=FISH, **fisheye) == FISHEYE
    if form == "flat":
        single = dict(zip(("k1", "k2", "k3", "k4"), FISH, strict=True))
        assert read(tmp_path, form, **single, **fisheye) == FISHEYE


@pytest.mark.parametrize(
    "name",
    [
        "distortion_type",
        "lens_distortion_model",
        "projection_model",
        "projection_type",
        "cam_model",
    ],
)
def test_who_names_a_lens_model_counts_beside_a_stated_one(tmp_path, name):
    stated = {"distortion_model": "plumb_bob", name: "equidistant", "distortion": FISH}
    assert read(tmp_path, "flat", **stated) == FISHEYE


@pytest.mark.parametrize("form", [*FORMS, "storage"])
def test_two_lenses_are_refused(tmp_path, form):
    with pytest.raises(CameraError, match="different coefficients of the lens"):
        read(tmp_path, form, distortion=FOUR, dist_coeffs=[0.2, 0, 0, 0])
    assert read(tmp_path, form, distortion=FOUR, dist_coeffs=FOUR) == RADTAN


def test_fields_below_a_name_are_refused(tmp_path):
    text = storage_text(camera_matrix=OPENCV_K)
    (tmp_path / "c.yml").write_text(f"{text}\ndistortion_parameters:\n   k1: -0.1\n   k2: 0.01\n")
    with pytest.raises(CameraError, match="distortion_parameters may be of the lens"):
        read_calibration(tmp_path / "c.yml")


def test_a_fisheye_storage_without_coefficients_is_refused(tmp_path):
    with pytest.raises(CameraError, match="fisheye without coefficients"):
        read(tmp_path, "storage", fisheye_model=1)


def test_a_file_without_a_size_is_told_what_to_state(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text(storage_text(camera_matrix=OPENCV_K))
    with pytest.raises(CameraError, match=r"expected image_width and image_height in pixels\. Add"):
        Camera.from_yaml(path)
    assert read_calibration(path).camera((640, 480)) == BARE


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "fields",
    [
        {"coeffs": [0, 0, 0, 0, 0]},
        {"k4": 0, "k5": 0.0, "p1": 0},
        {"distortion": "none"},
        {"distortion": "plumb_bob"},
        {"d": 0},
        {"dist": 1.2},
        {"undistorted_camera_matrix": K},
        {"distance_to_table": [1, 2]},
    ],
)
def test_a_lens_that_bends_nothing_and_other_fields_are_no_lens(tmp_path, form, fields):
    assert read(tmp_path, form, **fields) == BARE


def test_a_fisheye_of_zeros_bends(tmp_path):
    with pytest.raises(CameraError, match="coeffs may be of the lens"):
        read(tmp_path, "ROS", coeffs=[0, 0, 0, 0], camera_model="fisheye")


def test_the_same_lens_may_be_stated_twice(tmp_path):
    assert read(tmp_path, "flat", d=[0] * 5, D=[0] * 4).distortion in ((), (0.0,) * 5)
    assert read(tmp_path, "flat", d=FIVE, D=FIVE[:4]) == PLAIN
    with pytest.raises(CameraError, match="different coefficients"):
        read(tmp_path, "flat", d=FIVE, D=[0.3, *FIVE[1:]])


def test_fields_of_a_lens_that_are_no_list_are_named(tmp_path):
    with pytest.raises(CameraError, match="distortion has fields k1, k2; expected a list"):
        read(tmp_path, "CameraInfo", distortion={"k1": 0, "k2": 0})


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize(
    "fields",
    [
        {"xi": 1.2},
        {"xi": 1.2, "distortion_coefficients": FOUR},
        {"xi": 0.9, "alpha": 0.6, "D": FISH, "fisheye": 1},
        {"alpha": 0.6, "beta": 1.1, "distortion_coefficients": FOUR},
        {"mirror_parameters": [0.9], "dist_coeffs": FOUR},
    ],
)
def test_omnidirectional_cameras_are_refused_whatever_stands_beside(tmp_path, form, fields):
    """OpenCV's own calibrator of them writes xi beside a camera_matrix and four coefficients."""
    with pytest.raises(CameraError, match=r"it states (xi|alpha and beta|mirror_p\w+), of an omni"):
        read(tmp_path, form, **fields)
    # alpha alone is how much of an image was kept.
    assert read(tmp_path, form, alpha=0.5, dist_coeffs=FOUR) == RADTAN


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize("name", ["dist_coeffs", "distortion_coefficients", "D", "distortion"])
@pytest.mark.parametrize(
    "text",
    ["-0.35, 0.12, 0.0, 0.0, 0.0", "(-0.35, 0.12, 0, 0)", ".35 .12 0 0", "k1: -0.35, k2: 0", "0.1"],
)
def test_coefficients_that_are_a_text_are_refused(tmp_path, form, name, text):
    """YAML takes them for one where the brackets were forgotten."""
    with pytest.raises(CameraError, match=rf"{name} is the text .*; expected a list .* brackets"):
        read(tmp_path, form, **{name: text})
    # The name of a model may hold a digit.
    assert read(tmp_path, form, **{name: "brown5", "dist_coeff": FOUR}) == RADTAN


@pytest.mark.parametrize(
    "fields",
    [{"coeffs": "-0.35, 0.12, 0, 0"}, {"k1": "-1e-1"}, {"dist_coeffs": -0.35}, {"radial": FOUR}],
)
def test_other_lenses_that_are_not_read_are_refused(tmp_path, fields):
    with pytest.raises(CameraError, match=rf"{next(iter(fields))} may be of the lens"):
        read(tmp_path, "ROS", **fields)
    assert read(tmp_path, "ROS", coeffs="2024-01-05", k1="0", radial=[0, 0]) == BARE


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize(
    "fields",
    [
        {"fisheye": True},
        {"fisheye": "yes"},
        {"fisheye_model": 1},
        {"is_fisheye": 1},
        {"lens_type": "fisheye"},
        {"projection": "Fisheye"},
        {"type": "equidistant"},
        {"model": "distortion.kannala_brandt4"},
        {"distortion": "fisheye"},
        {"distortionModel": "equidistant"},
    ],
)
def test_a_fisheye_is_one_whichever_field_says_so(tmp_path, form, fields):
    # FileStorage has no truth values.
    stated = {name: int(v) if v is True else v for name, v in fields.items()}
    assert read(tmp_path, form, **stated, dist_coeffs=FISH) == FISHEYE
    assert read(tmp_path, form, fisheye=0, camera_name="fisheye", dist_coeffs=FOUR) == RADTAN


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize("stated", ["plumb_bob", "rational_polynomial", "equidistant"])
@pytest.mark.parametrize(
    "said",
    [
        *({name: "fisheye"} for name in ("lens_type", "lens", "camera_type", "type", "projection")),
        {"projection": "orthographic"},
        {"camera_type": "omni"},
        {"distortion": "fisheye"},
        {"calibration_type": "Acme Fisheye 180"},
    ],
)
def test_what_describes_the_camera_overrules_no_stated_model(tmp_path, form, stated, said):
    lens = {"plumb_bob": FIVE, "rational_polynomial": [*FIVE, 0.01, 0, 0], "equidistant": FISH}
    camera = read(tmp_path, form, **said, distortion_model=stated, D=lens[stated])
    assert (camera.distortion_model, camera.distortion) == (stated, tuple(lens[stated]))
    if stated == "plumb_bob":
        assert read(tmp_path, form, **said, distortion_model=stated, D=FOUR) == RADTAN


@pytest.mark.parametrize("form", ["ROS", "CameraInfo", "flat", "flat, ROS", "storage"])
@pytest.mark.parametrize("name", ["camera_model", "lens_model", "model_type", "model", "fisheye"])
def test_flags_and_the_model_of_a_camera_overrule_a_stated_one(tmp_path, form, name):
    says = {name: 1 if name == "fisheye" else "fisheye"}
    assert read(tmp_path, form, **says, distortion_model="plumb_bob", D=FISH) == FISHEYE


@pytest.mark.parametrize(
    ("says", "who"),
    [
        ({"distortion_model": "equidistant"}, "distortion_model"),
        ({"distortion_model": "plumb_bob", "camera_model": "fisheye"}, "camera_model"),
        ({"lens_type": "fisheye"}, "lens_type"),
    ],
)
def test_a_fisheye_with_the_coefficients_of_another_lens_is_told_who_says_so(tmp_path, says, who):
    plain = dict(zip(("k1", "k2", "p1", "p2"), FOUR, strict=True))
    message = rf"k1, k2, p1, p2 may .* {who} says that it is a fisheye; .* k1, k2, k3, k4\. Corr"
    with pytest.raises(CameraError, match=message):
        read(tmp_path, "flat", **plain, **says)
    # What describes the camera is no such word where the model is stated.
    camera = read(tmp_path, "flat", **plain, lens="fisheye", distortion_model="plumb_bob")
    assert (camera.distortion_model, camera.distortion[:4]) == ("plumb_bob", tuple(FOUR))


@pytest.mark.parametrize("form", FORMS)
def test_a_fisheye_of_yaml_s_truth_is_one_and_needs_four_coefficients(tmp_path, form):
    assert read(tmp_path, form, fisheye=True, D=FISH) == FISHEYE
    with pytest.raises(CameraError, match=r"fisheye is True, but .* 5 coefficients; expected equi"):
        read(tmp_path, form, fisheye=True, D=FIVE)
    assert read(tmp_path, form, fisheye=False, D=FIVE) == PLAIN


@pytest.mark.parametrize("form", [*FORMS, "storage"])
@pytest.mark.parametrize(
    "model",
    ["inverse_brown_conrady", "distortion.inverse_brown_conrady", "RADIAL_FISHEYE", "mei", "EUCM"],
)
def test_a_lens_model_that_we_have_not_is_refused_whichever_field_names_it(tmp_path, form, model):
    for name in ("model", "lens_type"):
        with pytest.raises(CameraError, match=r"distortion model '.*' is unknown"):
            read(tmp_path, form, **{name: model}, dist_coeffs=FOUR)


@pytest.mark.parametrize("form", [*FORMS, "storage"])
def test_an_inverse_lens_of_zeros_is_none(tmp_path, form):
    """As librealsense tells of its colour cameras."""
    assert read(tmp_path, form, model="inverse_brown_conrady", D=[0.0] * 5) == BARE


@pytest.mark.parametrize("form", [*FORMS, "storage"])
def test_what_may_be_a_fisheye_or_a_product_has_to_be_told(tmp_path, form):
    with pytest.raises(CameraError, match=r"model is 'Acme Fisheye 180', which may .* state dis"):
        read(tmp_path, form, model="Acme Fisheye 180", dist_coeffs=FOUR)
    stated = {"model": "Acme Fisheye 180", "dist_coeffs": FOUR, "distortion_model": "plumb_bob"}
    assert read(tmp_path, form, **stated) == RADTAN
