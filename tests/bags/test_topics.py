"""Which topic of a bag is the camera, and which calibration belongs to it."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.bags.reader import open_bag
from smap_ros.bags.topics import choose_topic, image_topics
from smap_ros.errors import InputError
from smap_ros.sources import open_source
from tests.bag_messages import camera_info, jpeg_image, raw_image, write_bag

GREY = np.full((48, 64, 3), 90, np.uint8)
DEPTH = np.full((48, 64), 2000, np.uint16)
SMALL = {"size": (64, 48), "k": (60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1)}


def info(frame: str = "cam", focal: float = 60.0):
    return camera_info(1, frame, size=(64, 48), k=(focal, 0, 31.5, 0, focal, 23.5, 0, 0, 1))


def depth(stamp: float = 1, frame: str = "depth"):
    return raw_image(stamp, DEPTH, frame, "16UC1")


def chosen(path, wanted=None) -> tuple[str, str]:
    with open_bag(path) as reader:
        topic = choose_topic(reader, wanted, path)
    return topic.name, topic.info


ROBOT = [
    # As `ros2 bag record -a` has them on a robot with a depth camera and us.
    *[("/camera/aligned_depth_to_color/image_raw", depth(t)) for t in (1, 2, 3)],
    *[("/camera/depth/image_rect_raw", depth(t)) for t in (1, 2, 3)],
    ("/camera/depth/camera_info", info("depth", 50.0)),
    *[("/camera/color/image_annotated", raw_image(t, GREY)) for t in (1, 2, 3)],
    ("/camera/color/image_raw", raw_image(1, GREY)),
    ("/camera/color/camera_info", info()),
    ("/ir", depth()),
]


def test_neither_depth_nor_our_own_picture_is_ever_the_camera(tmp_path, caplog):
    bag = write_bag(tmp_path / "bag", ROBOT)
    assert chosen(bag) == ("/camera/color/image_raw", "/camera/color/camera_info")
    assert not caplog.text  # there is no choice
    with open_bag(bag) as reader:
        cameras = {topic.name for topic in image_topics(reader) if topic.camera}
    assert cameras == {"/camera/color/image_raw"}


def test_a_bag_of_depth_images_alone_is_refused_with_what_it_has(tmp_path):
    bag = write_bag(tmp_path / "bag", [row for row in ROBOT if "color/" not in row[0]])
    with pytest.raises(
        InputError, match=r"no images of a camera, only .*/ir \(1 images, no camera's\)"
    ):
        chosen(bag)


def test_of_several_cameras_one_is_read_and_all_are_listed(tmp_path, caplog):
    messages = [(f"/{side}/image_raw", raw_image(t, GREY, side)) for t in (1, 2)
                for side in ("left", "right", "top")]  # fmt: skip
    messages += [("/left/image_raw", raw_image(3, GREY, "left"))]
    messages += [(f"/{side}/camera_info", info(side)) for side in ("left", "right")]
    bag = write_bag(tmp_path / "bag", messages)
    assert chosen(bag) == ("/left/image_raw", "/left/camera_info")
    (line,) = caplog.messages
    assert "3 cameras' images: reading /left/image_raw" in line
    assert "/right/image_raw (2 images, /right/camera_info)" in line
    assert "/top/image_raw (2 images, no CameraInfo); choose with --image-topic" in line
    assert chosen(bag, "right/image_raw") == ("/right/image_raw", "/right/camera_info")
    with pytest.raises(InputError, match=r"no image topic '/nope'; it has /left/image_raw \(3"):
        chosen(bag, "/nope")


def test_raw_and_compressed_images_of_one_camera_are_no_choice(tmp_path, caplog):
    messages = [("/cam/image_raw", raw_image(1, GREY)), ("/cam/camera_info", info())]
    messages += [("/cam/image_raw/compressed", jpeg_image(t, GREY)) for t in (1, 2)]
    assert chosen(write_bag(tmp_path / "bag", messages))[0] == "/cam/image_raw/compressed"
    assert not caplog.text


@pytest.mark.parametrize(
    ("image", "infos", "expected"),
    [
        ("/a/image_raw", {"/a/camera_info": "a", "/b/camera_info": "b"}, "/a/camera_info"),
        ("/a/image_raw", {"/a/image_raw/camera_info": "a"}, "/a/image_raw/camera_info"),
        # No calibration beside it: by the frame, never that of another camera.
        ("/a/image_raw", {"/drivers/a/info": "cam", "/b/camera_info": "b"}, "/drivers/a/info"),
        ("/a/image_raw", {"/b/camera_info": "b"}, ""),
        ("/a/image_raw", {"/x/camera_info": "cam", "/a/left/camera_info": "cam"},
         "/a/left/camera_info"),
        # A rectified image has its own, where there is one.
        ("/a/image_rect", {"/a/camera_info": "cam", "/a/camera_info_rect": "cam"},
         "/a/camera_info_rect"),
        ("/a/image_raw", {"/a/camera_info": "cam", "/a/camera_info_rect": "cam"},
         "/a/camera_info"),
    ],
)  # fmt: skip
def test_the_calibration_is_that_of_the_namespace_or_of_the_frame(tmp_path, image, infos, expected):
    messages = [(image, raw_image(1, GREY)), *((name, info(f)) for name, f in infos.items())]
    assert chosen(write_bag(tmp_path / "bag", messages))[1] == expected


def test_each_image_has_the_calibration_of_its_stamp_though_it_be_recorded_after_it(tmp_path):
    """A zoom lens, whose driver publishes the image first."""
    messages = []
    for k in range(1, 4):
        lens = camera_info(k, size=(64, 48), k=(50.0 + k, 0, 31.5, 0, 50.0 + k, 23.5, 0, 0, 1))
        messages += [("/cam/image", raw_image(k, GREY)), ("/cam/camera_info", lens)]
    frames = list(open_source(str(write_bag(tmp_path / "bag", messages))))
    assert [frame.camera.fx for frame in frames] == [51, 52, 53]


def test_two_cameras_on_one_topic_are_told_apart_by_their_frames(tmp_path):
    messages = []
    for k in range(1, 3):
        messages += [("/camera_info", info("left", 50.0)), ("/camera_info", info("right", 70.0))]
        messages += [("/image", raw_image(k, GREY, "right"))]
    frames = list(open_source(str(write_bag(tmp_path / "bag", messages))))
    assert [frame.camera.fx for frame in frames] == [70, 70]


def test_a_driver_that_starts_uncalibrated_costs_nothing(tmp_path):
    zero = camera_info(1, size=(64, 48), k=(0.0,) * 9)
    messages = [("/cam/camera_info", zero), ("/cam/image", raw_image(1, GREY))]
    messages += [("/cam/camera_info", camera_info(9, **SMALL)), ("/cam/image", raw_image(9, GREY))]
    source = open_source(str(write_bag(tmp_path / "bag", messages)))
    assert source.calibrated and source.camera_source.startswith("/cam/camera_info, ")
    assert [frame.camera.fx for frame in source] == [60, 60]


def test_an_impossible_calibration_is_none_and_says_why(tmp_path):
    bad = camera_info(1, size=(64, 48), k=(3.6, 0, 31.5, 0, 3.6, 23.5, 0, 0, 1))
    messages = [("/cam/camera_info", bad), ("/cam/image", raw_image(1, GREY))]
    (frame,) = open_source(str(write_bag(tmp_path / "bag", messages)))
    assert frame.camera is None
    assert frame.problem.startswith("/cam/camera_info: K is impossible: fx is 3.6 px")


@pytest.mark.parametrize("rectified", ["auto", "yes", "no"])
@pytest.mark.parametrize("topic", ["/cam/image_raw", "/cam/image_rect_color"])
def test_rectified_images_belong_to_p(tmp_path, topic, rectified):
    p = (50.0, 0, 30.0, 0, 0, 50.0, 22.0, 0, 0, 0, 1, 0)
    lens = camera_info(1, d=(-0.3, 0.1, 0, 0, 0), p=p, **SMALL)
    bag = write_bag(tmp_path / "bag", [(topic, raw_image(1, GREY)), ("/cam/camera_info", lens)])
    source = open_source(str(bag), rectified=rectified)
    (frame,) = source
    as_rectified = rectified == "yes" or (rectified == "auto" and "rect" in topic)
    assert frame.camera.fx == (50 if as_rectified else 60)
    assert bool(frame.camera.distortion) != as_rectified
    assert ("P without distortion" in source.camera_source) == as_rectified
