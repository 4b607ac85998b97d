"""`smap-ros doctor --topic` beside drivers that are fine, and that aren't."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from smap_ros.camera import Camera
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_compressed, array_to_image, info_from_camera

SIZE = (320, 240)
CAMERA = Camera.from_fov(*SIZE, 1.0)


def doctor(*words):
    done = subprocess.run(
        [sys.executable, "-m", "smap_ros", "doctor", "--seconds", "1.5", *words],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    return done.returncode, " ".join(done.stdout.split()), done.stderr


@contextmanager
def driving(observer, spoil=lambda image, info: None, compressed=False, name="/cam/image_raw"):
    """Images at 20 Hz, each with its calibration, both as ``spoil`` leaves them."""
    kind = CompressedImage if compressed else Image
    images = observer.publisher(kind, f"{name}/compressed" if compressed else name, qos.SENSOR)
    infos = observer.publisher(CameraInfo, "/cam/camera_info", qos.SENSOR)
    pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    stopped = threading.Event()

    def play():
        while not stopped.wait(0.05):
            header = Header(frame_id="eye", stamp=observer.node.get_clock().now().to_msg())
            info = info_from_camera(CAMERA, header, SIZE)
            image = (
                array_to_compressed(pixels, header, 90)
                if compressed
                else array_to_image(pixels, header)
            )
            spoil(image, info)
            infos.publish(info)
            images.publish(image)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        observer.node.destroy_publisher(images)
        observer.node.destroy_publisher(infos)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_driver_that_is_fine(observer, compressed):
    with driving(observer, compressed=compressed):
        topic = "/cam/image_raw" + "/compressed" * compressed
        status, said, error = doctor("--topic", topic)
    assert (status, error) == (0, ""), said
    assert "ok publishers /observer: best effort, volatile" in said
    assert "320x240 px" in said and "mean brightness 90 of 255" in said
    assert "horizontal field of view 57.3 degrees, no lens" in said
    assert "image:=/cam/image_raw camera_info:=/cam/camera_info" in said
    assert ("compressed:=true" in said) is compressed
    assert ("320x240 px bgr8, step 960" in said) is not compressed
    assert "wrong" not in said


def test_everything_that_is_wrong_is_told_at_once(observer):
    def normalised(image, info):
        info.k = [k / 320 for k in info.k]
        info.k[8] = 1.0
        image.header.frame_id = info.header.frame_id = ""

    with driving(observer, normalised):
        status, said, error = doctor("--topic", "/cam/image_raw")
    assert status == 2 and error.startswith("smap-ros: /cam/image_raw isn't fine (calibration)")
    assert "wrong calibration" in said and "normalised by the image's size" in said
    assert "- frame ''" in said and "set the driver's frame_id" in said


def test_images_that_cant_be_read_and_have_no_calibration(observer):
    def truncated(image, info):
        image.data = image.data[:1000]

    with driving(observer, truncated, name="/other/image"):
        status, said, _ = doctor("--topic", "/other/image")
        assert status == 2
        assert "wrong picture 320x240 px bgr8, step 960; bgr8 image of 320x240 px with" in said
        assert "wrong CameraInfo /other/camera_info; none came" in said
        status, said, _ = doctor("--topic", "/other/image", "--camera-info", "/cam/camera_info")
        assert "ok CameraInfo /cam/camera_info" in said
    with driving(observer, name="/cam/depth/image_raw"):
        status, said, _ = doctor("--topic", "/cam/depth/image_raw")
        assert status == 2 and "these are no pictures of a camera, but distances" in said


def test_a_simulation_is_launched_with_its_clock(observer):
    def simulated(image, info):
        image.header.stamp.sec = info.header.stamp.sec = 42

    observer.publisher(Clock, "/clock", 10)
    with driving(observer, simulated):
        code, told, _ = doctor("--topic", "/cam/image_raw")
    assert code == 2 and "clock of a simulation" in told
    assert "camera_info:=/cam/camera_info use_sim_time:=true" in told


def test_a_calibration_that_was_said_once_is_heard(observer):
    header = Header(frame_id="eye", stamp=observer.node.get_clock().now().to_msg())
    latched = observer.publisher(CameraInfo, "/other/camera_info", qos.LATCHED)
    latched.publish(info_from_camera(CAMERA, header, SIZE))
    with driving(observer, name="/other/image"):
        status, said, error = doctor("--topic", "/other/image")
    assert (status, error) == (0, ""), said
    assert "/other/camera_info, 0 messages, and one from before (latched)" in said
    assert "horizontal field of view 57.3 degrees, no lens" in said


def test_a_topic_that_is_not_there_or_no_camera_s_lists_those_that_are(observer):
    observer.publisher(String, "/chatter")
    with driving(observer):
        status, said, error = doctor("--topic", "/camera/image_raw")
        assert status == 2 and "isn't fine (topic)" in error
        assert "nobody publishes /camera/image_raw; topics with images: /cam/image_raw" in said
        status, said, _ = doctor("--topic", "/chatter")
        assert "/chatter is published as std_msgs/msg/String; topics with images:" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "--seconds and --camera-info are for --topic"),
        (["--topic", "no good name"], "can't listen to no good name: "),
    ],
)
def test_wrong_words_are_refused_in_one_line(ros_domain, words, reason):
    status, said, error = doctor(*words)
    assert (status, said) == (2, "")
    assert reason in error and "Traceback" not in error and error.count("\n") == 1
