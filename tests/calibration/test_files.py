"""Calibration files of other programs: read right, or refused with what they are."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml

from smap_ros.calibration import read_calibration
from smap_ros.camera import Camera
from smap_ros.errors import CameraError

ROS = """
image_width: 640
image_height: 480
camera_name: head
camera_matrix: {rows: 3, cols: 3, data: [600.0, 0, 320, 0, 610, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500.0, 0, 310, 0, 0, 505, 230, 0, 0, 0, 1, 0]}
"""
PLAIN = Camera(640, 480, 600, 610, 320, 240, (-0.1, 0.01, 0, 0, 0))
FISHEYE = Camera(640, 480, 600, 610, 320, 240, (-0.01, 0.02, 0.0, 0.001), "equidistant")
FOUR = ROS.replace("cols: 5, data: [-0.1, 0.01, 0, 0, 0]", "cols: 4, data: [-0.01, 0.02, 0, 0.001]")

INFO = """header:
  stamp: {sec: 1, nanosec: 2}
  frame_id: head
height: 480
width: 640
distortion_model: plumb_bob
d: [-0.1, 0.01, 0.0, 0.0, 0.0]
k: [600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [500.0, 0.0, 310.0, 0.0, 0.0, 505.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
"""

KALIBR = """cam0:
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.1, 0.01, 0.0, 0.0]
  distortion_model: radtan
  intrinsics: [600.0, 610.0, 320.0, 240.0]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
"""
CAM1 = KALIBR.replace("cam0", "cam1")
SENSOR = """sensor_type: camera
rate_hz: 20
resolution: [640, 480]
camera_model: pinhole
intrinsics: [600.0, 610.0, 320.0, 240.0]
distortion_model: radial-tangential
distortion_coefficients: [-0.1, 0.01, 0.0, 0.0]
"""

KALIBR_FISHEYE = KALIBR.replace("radtan", "equidistant").replace(
    "-0.1, 0.01, 0.0, 0.0", "-0.01, 0.02, 0.0, 0.001"
)
RADTAN = Camera(640, 480, 600, 610, 320, 240, (-0.1, 0.01, 0, 0))

READ = {
    "camera_calibration": (ROS, PLAIN),
    "fisheye by its model": (FOUR.replace("plumb_bob", "equidistant"), FISHEYE),
    "fisheye by an older name": (FOUR.replace("plumb_bob", "fisheye"), FISHEYE),
    "camera_model beside": ("camera_model: fisheye\n" + FOUR, FISHEYE),
    "camera_model instead": (
        FOUR.replace("distortion_model: plumb_bob", "camera_model: fisheye"), FISHEYE
    ),
    "a CameraInfo of ROS 2": (INFO, PLAIN),
    "a CameraInfo of ROS 1": (
        INFO.replace("\nd:", "\nD:").replace("\nk:", "\nK:").replace("\np:", "\nP:"), PLAIN
    ),
    "kalibr": (KALIBR, RADTAN),
    "kalibr, fisheye": (KALIBR_FISHEYE, FISHEYE),
    "a sensor of EuRoC": (SENSOR, RADTAN),
    "the camera of bodies.json": (
        json.dumps(Camera(640, 480, 600, 610, 320, 240).to_json()),
        Camera(640, 480, 600, 610, 320, 240),
    ),
    "a byte order mark": ("\ufeff" + ROS, PLAIN),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_files_of_common_programs_are_read(tmp_path, name):
    text, expected = READ[name]
    path = tmp_path / "calibration.yaml"
    path.write_text(text)
    assert read_calibration(path).camera() == expected
    assert Camera.from_yaml(path) == expected


LENS_FIELDS = [
    "distortion_coefficients", "dist_coeffs", "distCoeffs", "dist", "dist_coeff", "distortion",
    "distortion_coeffs", "dist_coefs", "D", "d",
]  # fmt: skip


@pytest.mark.parametrize("lens", LENS_FIELDS)
def test_matrices_as_plain_lists_are_read(tmp_path, lens):
    path = tmp_path / "head.yaml"
    path.write_text(
        "image_width: 640\nimage_height: 480\n"
        "camera_matrix: [[600.0, 0.0, 320.0], [0.0, 610.0, 240.0], [0.0, 0.0, 1.0]]\n"
        f"{lens}: [[-0.1, 0.01, 0.0, 0.0, 0.0]]\nprojection_matrix: null\n"
    )
    assert read_calibration(path).camera() == PLAIN


def test_p_is_kept_for_rectified_images(tmp_path):
    for text in (ROS, INFO):
        (tmp_path / "c.yaml").write_text(text)
        camera = read_calibration(tmp_path / "c.yaml").camera(rectified=True)
        assert camera == Camera(640, 480, 500, 505, 310, 230)


def write_storage(path, **fields):
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in fields.items():
        storage.write(name, value)
    storage.release()


OPENCV_K = np.array([[600.0, 0, 320], [0, 610, 240], [0, 0, 1]])


@pytest.mark.parametrize("suffix", ["yml", "xml", "json"])
def test_what_opencv_writes_is_read(tmp_path, suffix):
    path = tmp_path / f"camera.{suffix}"
    lens = np.array([[-0.1, 0.01, 0, 0, 0]])
    write_storage(
        path, image_width=640, image_height=480, camera_matrix=OPENCV_K,
        distortion_coefficients=lens,
    )  # fmt: skip
    assert read_calibration(path).camera() == PLAIN
    # Names of older samples, and no size: that of the image.
    write_storage(path, Camera_Matrix=OPENCV_K, Distortion_Coefficients=lens.T)
    assert read_calibration(path).camera((640, 480)) == PLAIN
    lens = np.array([[-0.01, 0.02, 0.0, 0.001]])
    write_storage(
        path, image_width=640, image_height=480, camera_matrix=OPENCV_K, fisheye_model=1,
        distortion_coefficients=lens,
    )  # fmt: skip
    assert read_calibration(path).camera() == FISHEYE


@pytest.mark.parametrize(
    ("stated", "model"),
    [
        ({"distortion_model": "equidistant"}, "equidistant"),
        ({"distortion_model": "fisheye"}, "equidistant"),
        ({"model_type": "KANNALA_BRANDT"}, "equidistant"),
        ({"camera_model": "fisheye"}, "equidistant"),
        ({"camera_model": "Our Camera 2"}, "plumb_bob"),
        ({"lens_model": "Our Lens 6 mm"}, "plumb_bob"),
        ({"lens_model": "fisheye"}, "equidistant"),
        ({"lens_model": "OPENCV_FISHEYE"}, "equidistant"),
        ({"camera_model": "pinhole-equi"}, "equidistant"),
        ({"distortion_model": "equi"}, "equidistant"),
        ({"distortion_model": "brown"}, "plumb_bob"),
        ({"distortion_model": "plumb_bob"}, "plumb_bob"),
    ],
)
def test_the_lens_model_that_a_storage_states_counts(tmp_path, stated, model):
    lens = {"camera_matrix": OPENCV_K, "distortion_coefficients": np.full((1, 4), 0.01)}
    write_storage(tmp_path / "c.yml", **stated, image_width=640, image_height=480, **lens)
    assert read_calibration(tmp_path / "c.yml").camera().distortion_model == model
    write_storage(tmp_path / "c.yml", distortion_model="fov", **lens)
    with pytest.raises(CameraError, match="'fov' is unknown"):
        read_calibration(tmp_path / "c.yml").camera((640, 480))


@pytest.mark.parametrize("lost", ["rows: 3", "cols: 3", "dt: d"])
def test_a_matrix_without_its_shape_costs_no_memory(tmp_path, lost):
    """OpenCV's own reading of one writes beyond its memory, and may end the process."""
    path = tmp_path / "camera.yml"
    text = storage_text(camera_matrix=OPENCV_K)
    assert lost in text
    path.write_text(text.replace(lost, "a: 3"))
    for _ in range(20):
        assert read_calibration(path).k == tuple(OPENCV_K.reshape(-1))


def test_opencv_s_older_yaml_is_read(tmp_path):
    path = tmp_path / "camera.yml"
    rows = "rows: 3\n   cols: 3\n   dt: d\n   data: [ 600., 0., 320., 0., 610., 240., 0., 0., 1. ]"
    path.write_text(f"%YAML:1.0\n---\nimage_Width: 640\nimage_Height: 480\n"
                    f"cameraMatrix: !!opencv-matrix\n   {rows}\n")  # fmt: skip
    assert read_calibration(path).camera() == Camera(640, 480, 600, 610, 320, 240)


def storage_text(**fields) -> str:
    storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for name, value in fields.items():
        storage.write(name, value)
    return storage.releaseAndGetString()


REFUSED = {
    "two cameras of kalibr": (
        KALIBR + CAM1, r"chain of 2 cameras: cam0 \(/cam0/image_raw\), cam1 \(/cam1/image_raw\)"
    ),
    "an omnidirectional camera": (
        KALIBR.replace("pinhole", "omni"), "camera_model is 'omni', which is not supported"
    ),
    "kalibr's own lens": (KALIBR.replace("radtan", "fov"), "'fov' is unknown"),
    "kalibr without size": (KALIBR.replace("resolution", "size"), "has no 'resolution'"),
    "a size without end": (ROS.replace("640", ".inf"), "expected a whole number, got inf"),
    "a size of half a pixel": (ROS.replace("640", "640.5"), "expected a whole number, got 640.5"),
    "a size that is true": (ROS.replace("640", "true"), "expected a whole number, got True"),
    "a lens of no number": (ROS.replace("[-0.1,", "[.nan,"), r"distortion \[nan, 0\.01, 0\.0,"),
    "no matrix": (ROS.replace("camera_matrix", "camera_matrix:\nx"), "K has 0 numbers"),
    "brackets without end": ("[" * 50_000, "it is no YAML: it is nested too deeply"),
    "a day that isn't": ("a: 2020-13-40", "it is no YAML"),
    "two cameras of OpenCV": (
        storage_text(M1=OPENCV_K, D1=np.zeros(5), M2=OPENCV_K, D2=np.zeros(5)), "pair of cameras"
    ),
    "another thing of OpenCV": (storage_text(hog=np.eye(2)), "FileStorage with hog; expected"),
    "a matrix with a word": (
        storage_text(camera_matrix=OPENCV_K).replace("600.", "wide"),
        "camera_matrix holds something else than numbers",
    ),
    "a matrix of too few": (
        storage_text(camera_matrix=OPENCV_K).replace("600.,", ""), "K has 8 numbers"
    ),
    "a damaged FileStorage": ("%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n  rows: [", "damag"),
    "a settings file of a SLAM program": (
        "%YAML:1.0\n---\nCamera.fx: 600.0\nCamera.fy: 610.0\n", "with Camera.fx, Camera.fy"
    ),
    "an .ini": (
        "# oST version 5.0 parameters\n\n[image]\n\nwidth\n640\n", "camera_calibration_parsers"
    ),
    "other XML": ("<calibration><fx>600</fx></calibration>", "it is XML, but not OpenCV's"),
    "other YAML": ("cars: [1, 2]", "it holds cars; expected"),
    "normalised": (
        ROS.replace("[600.0, 0, 320, 0, 610, 240", "[0.9, 0, 0.5, 0, 1.2, 0.5"), "normalised"
    ),
    "a fisheye of five": ("camera_model: fisheye\n" + ROS, "expected equidistant with 4"),
    "empty": ("", "it holds no fields"),
    "a list": ("[]", "it holds no fields"),
    "no YAML": ("a: [", "it is no YAML"),
    "words": ("words", "it holds no fields"),
    "binary": ("\x00", "it is no YAML"),
    "plain fields of two sizes": (
        "{fx: 600, fy: 610, cx: 320, cy: 240, width: 640, height: 480, image_width: 320, "
        "image_height: 240}", "states the sizes 320 x 240 and 640 x 480; keep the one"
    ),
    "plain fields without size": (
        "{fx: 600, fy: 610, cx: 320, cy: 240}", r"holds fx, .*plain fields \(width, height, fx, fy"
    ),
    "plain fields of half a size": (
        "{fx: 600, fy: 610, cx: 320, cy: 240, width: 640, image_height: 480}", "it holds fx, fy"
    ),
    "no size": (ROS.replace("image_width", "width"), "has no 'image_width'"),
    "size in words": (ROS.replace("640", "wide"), "malformed"),
    "no numbers": (ROS.replace("[600.0", "[zero"), "malformed"),
    "a number too few": (ROS.replace("[600.0, ", "["), "K has 8 numbers"),
    "a list as size": (ROS.replace("image_height: 480", "image_height: [480]"), "malformed"),
    "a lens in words": (ROS.replace("[-0.1, 0.01, 0, 0, 0]", "[a, b, c, d]"), "malformed"),
    "a lens of one": (ROS.replace("[-0.1, 0.01, 0, 0, 0]", "0.1"), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_in_one_line(tmp_path, name):
    text, words = REFUSED[name]
    path = tmp_path / "head.yaml"
    path.write_text(text)
    with pytest.raises(CameraError, match=words) as error:
        read_calibration(path).camera()
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(CameraError, match=r"head\.yaml: No such file"):
        read_calibration(tmp_path / "head.yaml")
    with pytest.raises(CameraError, match="Is a directory"):
        read_calibration(tmp_path)
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0" * 9)
    with pytest.raises(CameraError, match="can't read the calibration"):
        read_calibration(tmp_path / "picture.yaml")
    (tmp_path / "film.yaml").write_bytes(b" " * 5_000_000)
    with pytest.raises(CameraError, match="5000000 bytes; expected a calibration file"):
        read_calibration(tmp_path / "film.yaml")


def test_the_demo_s_calibration_is_what_yaml_says():
    from smap_ros.paths import config_directory

    path = config_directory() / "demo" / "camera.yaml"
    stated = yaml.safe_load(path.read_text())["camera_matrix"]["data"]
    assert read_calibration(path).k == tuple(stated)
