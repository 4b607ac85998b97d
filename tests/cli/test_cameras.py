"""`smap-ros estimate` and `smap-ros bag` on one picture of the demo's clip, as drivers send it.

Whatever CameraInfo says, the people stand where they stand: pelvises near x -1.2, 0.45 and 1.4 m,
5.0 to 5.6 m away; or nothing is said.
"""

from __future__ import annotations

import itertools
import json
from functools import cache

import cv2
import numpy as np
import pytest

from smap_ros.paths import config_directory
from smap_ros.sources import open_source
from tests.bag_messages import K, camera_info, jpeg_image, raw_image, write_bag

WORDS = ("--bundle", "smap_lite", "--engine", "onnxruntime", "--threads", 1)
LENS = (-0.35, 0.12, 0.0, 0.0, 0.0)
P = (614.5, 0.0, 383.5, 0.0, 0.0, 614.5, 215.5, 0.0, 0.0, 0.0, 1.0, 0.0)
WIDE_K = (500.0, 0.0, 383.5, 0.0, 500.0, 215.5, 0.0, 0.0, 1.0)


@cache
def picture() -> np.ndarray:
    clip = open_source(str(config_directory() / "demo" / "clip.mp4"))
    return next(itertools.islice(iter(clip), 10, None)).image


def pelvises(path) -> np.ndarray:
    """By x, metres."""
    (frame,) = json.loads(path.read_text())["frames"]
    roots = np.array([body["joints_3d"][2][:3] for body in frame["bodies"]])
    return roots[np.argsort(roots[:, 0])]


def check(path) -> None:
    found = pelvises(path)
    np.testing.assert_allclose(found[:, 0], [-1.2, 0.45, 1.4], atol=0.15)
    np.testing.assert_allclose(found[:, 2], [5.0, 5.6, 5.2], atol=0.3)


def bag_of(tmp_path, topic: str = "image_raw", frame: str = "cam", **fields):
    rows = [("/camera/camera_info", camera_info(100, frame, **fields))]
    rows.append((f"/camera/{topic}/compressed", jpeg_image(100, picture(), frame)))
    return write_bag(tmp_path / "bag", rows)


SHIFTED = (614.5, 0.0, 703.5, 0.0, 614.5, 415.5, 0.0, 0.0, 1.0)
RIGHT = {
    "rectified": ("image_rect_color", {"k": WIDE_K, "d": LENS, "p": P}, ()),
    "rectified, as stated": ("image", {"k": WIDE_K, "d": LENS, "p": P}, ("--rectified", "yes")),
    "a window, sizes of the sensor": (
        "image_raw", {"k": SHIFTED, "roi": (320, 200, 768, 432), "size": (1408, 832)}, ()
    ),
    "a window, its own size": ("image_raw", {"k": SHIFTED, "roi": (320, 200, 768, 432)}, ()),
    "binned": (
        "image_raw",
        {"k": (1229, 0, 767.5, 0, 1229, 431.5, 0, 0, 1), "size": (1536, 864), "binning": (2, 2)},
        (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_people_stand_where_they_stand(smap_ros, tmp_path, name):
    topic, fields, words = RIGHT[name]
    bag_of(tmp_path, topic, **fields)
    done = smap_ros("estimate", "bag", "--out", "out", *words, *WORDS)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out" / "bodies.json")
    said = " ".join(done.stdout.split())
    assert ("P without distortion" in said) == ("rectified" in name)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"k": (0.8, 0, 0.5, 0, 1.4, 0.5, 0, 0, 1)}, "normalised by the image's size"),
        ({"k": (3.6, 0, 383.5, 0, 3.6, 215.5, 0, 0, 1)}, "millimetres"),
        ({"k": (1e9, 0, 383.5, 0, 1e9, 215.5, 0, 0, 1)}, "K is impossible"),
        ({"d": (-50, 3, 0, 0, 0)}, "folds over"),
        ({"size": (1536, 864)}, "calibrated for 1536x864 px, but the image is 768x432 px"),
        ({"k": (0,) * 9}, "K is all zeros"),
        ({"d": (0.1,) * 4, "model": "mei"}, "'mei' is unknown"),
    ],
)
def test_an_impossible_calibration_ends_in_one_line(smap_ros, tmp_path, fields, words):
    bag_of(tmp_path, **fields)
    done = smap_ros("estimate", "bag", "--out", "out", *WORDS)
    assert done.returncode == 2
    assert words in done.stderr and "--fov" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    done = smap_ros("estimate", "bag", "--out", "out", "--fov", "64", *WORDS)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out" / "bodies.json")


def test_a_bag_of_several_cameras_is_reported_by_topic(smap_ros, tmp_path, caplog):
    depth = np.full((48, 64), 5000, np.uint16)
    rows = [
        ("/a/depth/image_raw", raw_image(100, depth, "a", "16UC1")),
        ("/a/camera_info", camera_info(100, "a", k=WIDE_K)),
        ("/a/image_raw", jpeg_image(100, picture(), "a")),
        ("/a/image_raw", jpeg_image(101, picture(), "a")),
        ("/b/camera_info", camera_info(100, "b", k=K)),
        ("/b/image_raw", jpeg_image(100, picture(), "b")),
    ]
    write_bag(tmp_path / "bag", rows)
    done = smap_ros("bag", "bag", "--report", "all", *WORDS)
    assert done.returncode == 0, done.stderr
    there = "also there: /b/image_raw (1 images, /b/camera_info); choose with --image-topic"
    assert f"reading /a/image_raw; {there}" in caplog.text
    done = smap_ros("bag", "bag", "--report", "one", "--image-topic", "/b/image_raw", *WORDS)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert (report["images"], report["people"]) == (1, 3)
    assert report["camera_from"].startswith("/b/image_raw: /b/camera_info, ")
    assert "--image-topic /b/image_raw" in (tmp_path / "one" / "report.md").read_text()
    done = smap_ros("estimate", "bag", "--image-topic", "/b/image_raw", "--out", "out", *WORDS)
    assert done.returncode == 0
    check(tmp_path / "out" / "bodies.json")


def test_a_calibration_file_of_opencv_is_taken(smap_ros, tmp_path):
    cv2.imwrite(str(tmp_path / "people.png"), picture())
    storage = cv2.FileStorage(str(tmp_path / "camera.xml"), cv2.FILE_STORAGE_WRITE)
    storage.write("camera_matrix", np.reshape(K, (3, 3)))
    storage.write("distortion_coefficients", np.zeros(5))
    storage.release()
    done = smap_ros("estimate", "people.png", "--camera", "camera.xml", "--out", "out", *WORDS)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out" / "bodies.json")
