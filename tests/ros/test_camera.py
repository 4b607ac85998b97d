"""The camera node in a process of its own: files in, images with calibration out."""

from __future__ import annotations

import time
from functools import partial

import av
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool

from smap_ros.bags.messages import image_from_message
from smap_ros.calibration import camera_from_info
from smap_ros.camera import Camera
from smap_ros.images import encode_compressed
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.camera import CameraNode
from smap_ros.nodes.conversions import seconds
from tests.ros.consumer import Consumer

NODE = "camera_node"
FRAMES = 60
SIZE = (320, 240)
CALIBRATION = """
image_width: {width}
image_height: 240
camera_name: test
camera_matrix: {{rows: 3, cols: 3, data: [300.0, 0, 161.0, 0, 301.0, 119.0, 0, 0, 1]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0.1, -0.05, 0, 0, 0]}}
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds at 20 Hz that get brighter."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 4_000_000
        for k in range(FRAMES):
            image = np.full((SIZE[1], SIZE[0], 3), 20 + 3 * k, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_as_consumed_leaves_no_frame_out_however_slow_the_consumer(start, observer, clip):
    infos = observer.collect(CameraInfo, "camera_info", qos.SENSOR)
    begun = time.time()
    node = start(NODE, source=str(clip), pacing="as_consumed", fov_deg=60.0, frame_id="eye")
    time.sleep(1.0)  # the consumer comes later than the camera
    consumer = Consumer(observer, delay=0.04)
    assert node.wait() == 0
    assert f"end of clip.mp4 after {FRAMES} images" in node.log
    shown = consumer.brightness()
    assert len(shown) == FRAMES and shown == sorted(set(shown))
    stamps = [seconds(message.header.stamp) for message in consumer.images]
    assert stamps == sorted(set(stamps)) and begun < stamps[0] < stamps[-1] < time.time()
    info = infos[-1]
    assert info.header.frame_id == consumer.images[-1].header.frame_id == "eye"
    assert camera_from_info(info).fov == pytest.approx(np.deg2rad(60))
    assert {seconds(i.header.stamp) for i in infos} >= {stamps[-1]}


def test_a_picture_is_shown_until_it_is_answered_though_the_consumer_comes_late(
    start, observer, tmp_path
):
    picture = tmp_path / "people.jpg"
    picture.write_bytes(encode_compressed(np.full((240, 320, 3), 200, np.uint8)))
    node = start(NODE, source=str(picture), fov_deg=60.0)
    observer.wait(lambda: NODE in observer.node.get_node_names(), "the camera")
    time.sleep(1.0)
    consumer = Consumer(observer)
    assert node.wait() == 0
    assert "end of people.jpg after 1 images" in node.log
    assert consumer.images


def test_the_people_that_are_waited_for_are_those_of_a_remapped_topic(spin, observer, tmp_path):
    picture = tmp_path / "people.jpg"
    picture.write_bytes(encode_compressed(np.full((240, 320, 3), 200, np.uint8)))
    words = ["--ros-args", "-r", "bodies_raw:=people"]
    kind = partial(CameraNode, cli_args=words)
    node = spin(kind, source=str(picture), fov_deg=60.0, exit_at_end=False)
    observer.collect(Image, "image", qos.SENSOR)
    assert not node._expects_consumer() and not node._has_consumer()
    observer.publisher(BodyArray, "people")
    observer.wait(lambda: node._expects_consumer() and node._has_consumer(), "the publisher")


def test_real_time_keeps_the_videos_pace(start, observer, clip):
    images = observer.collect(Image, "image", qos.SENSOR)
    start(NODE, source=str(clip), pacing="real_time", loop=True)
    observer.wait(lambda: len(images) >= 30, "images")
    stamps = [seconds(message.header.stamp) for message in images]
    # A machine that is busy can only be slower.
    assert stamps[-1] - stamps[0] > 0.05 * (len(stamps) - 2)


def test_the_first_image_waits_for_subscribers_who_come_late(start, observer, clip):
    first = observer.collect(Image, "image", qos.SENSOR)
    start(NODE, source=str(clip), fov_deg=60.0, pacing="real_time", loop=True, subscribers=2)
    observer.wait(lambda: NODE in observer.node.get_node_names(), "the camera")
    time.sleep(1.0)  # nothing says that an image will not come
    assert first == []
    second = observer.collect(Image, "image", qos.SENSOR)
    observer.wait(lambda: first and second, "images at both")


def test_the_end_is_latched_for_those_who_come_late(start, observer, clip):
    node = start(NODE, source=str(clip), pacing="real_time", exit_at_end=False, rate=500.0)
    observer.wait(lambda: "end of clip.mp4" in node.log, "the end")
    end = observer.collect(Bool, "end_of_stream", qos.LATCHED)
    observer.wait(lambda: end and end[-1].data, "the latched end of stream")
    assert node.alive
    observer.wait(
        lambda: (s := observer.status(NODE)) and s.message == "end of stream", "diagnostics"
    )


def test_loop_and_rate(start, observer, clip):
    images = observer.collect(Image, "image", qos.SENSOR)
    node = start(NODE, source=str(clip), pacing="real_time", loop=True, rate=100.0)
    observer.wait(lambda: len(images) > 2 * FRAMES, "two rounds")
    assert node.alive and "end of" not in node.log
    assert node.interrupt() == 0


def test_calibration_file_and_compressed_images(start, observer, clip, tmp_path):
    (tmp_path / "camera.yaml").write_text(CALIBRATION.format(width=320))
    images = observer.collect(CompressedImage, "image/compressed", qos.SENSOR)
    infos = observer.collect(CameraInfo, "camera_info", qos.SENSOR)
    start(
        NODE, source=str(clip), pacing="real_time", loop=True, compressed=True,
        calibration=str(tmp_path / "camera.yaml"),
    )  # fmt: skip
    observer.wait(lambda: images and infos, "images")
    assert image_from_message(images[-1]).shape == (240, 320, 3)
    expected = Camera(320, 240, 300.0, 301.0, 161.0, 119.0, (0.1, -0.05, 0.0, 0.0, 0.0))
    assert camera_from_info(infos[-1]) == expected


def test_without_calibration_the_camera_says_so_with_a_zero_k(start, observer, clip):
    infos = observer.collect(CameraInfo, "camera_info", qos.SENSOR)
    start(NODE, source=str(clip), pacing="real_time", loop=True)
    observer.wait(lambda: infos, "a CameraInfo")
    assert not any(infos[-1].k) and (infos[-1].width, infos[-1].height) == SIZE


def test_a_calibration_for_another_size_is_an_error_and_a_status(start, clip, tmp_path):
    (tmp_path / "camera.yaml").write_text(CALIBRATION.format(width=640))
    node = start(
        NODE, source=str(clip), pacing="real_time", calibration=str(tmp_path / "camera.yaml")
    )
    assert node.wait() == 2
    assert "640x240" in node.log and "320x240" in node.log and "Traceback" not in node.log


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "source is empty"),
        ({"source": "nowhere.mp4"}, "doesn't exist"),
        ({"source": "nowhere.mp4", "rate": -1.0}, "rate"),
        ({"source": "nowhere.mp4", "pacing": "leisurely"}, "one of auto, real_time, as_consumed"),
    ],
)
def test_a_source_or_parameter_that_is_wrong_ends_the_node_with_one_line(start, parameters, reason):
    node = start(NODE, **parameters)
    assert node.wait() == 2
    assert reason in node.log and "Traceback" not in node.log


def test_a_folder_with_a_broken_image_goes_on_and_a_video_that_ends_in_mid_frame_ends_in_order(
    start, observer, clip, tmp_path
):
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(3):
        jpeg = encode_compressed(np.full((240, 320, 3), 60 * k, np.uint8))
        (folder / f"{k}.jpg").write_bytes(jpeg if k != 1 else b"not a picture")
    node = start(NODE, source=str(folder), pacing="real_time", rate=50.0)
    assert node.wait() == 0
    assert "after 2 images" in node.log and "1.jpg" in node.log
    short = tmp_path / "short.mp4"
    with av.open(str(clip)) as source, av.open(str(tmp_path / "long.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "long.mkv").read_bytes()
    short = tmp_path / "short.mkv"
    short.write_bytes(data[: int(len(data) * 0.6)])
    node = start(NODE, source=str(short), pacing="real_time", rate=200.0)
    assert node.wait() == 0
    assert "truncated" in node.log or "damaged" in node.log
    assert "Traceback" not in node.log


def test_diagnostics_name_the_source_and_its_rate(start, observer, clip):
    start(NODE, source=str(clip), pacing="real_time", loop=True)
    values = observer.wait(
        lambda: (v := observer.values(NODE)) and float(v["rate out [Hz]"]) > 10 and v, "a rate"
    )
    assert values["source"] == "clip.mp4"
    assert observer.status(NODE).level == DiagnosticStatus.OK


def test_a_clock_that_nobody_publishes_is_told(start, observer, clip):
    start(NODE, source=str(clip), pacing="real_time", loop=True, use_sim_time=True)

    def told(words):
        status = observer.status(NODE)
        return status if status and words in status.message else None

    waiting = observer.wait(lambda: told("nothing comes on /clock"), "the warning")
    assert waiting.level == DiagnosticStatus.WARN
    clock = observer.publisher(Clock, "/clock", 10)
    observer.wait(lambda: clock.publish(Clock(clock=Time(sec=42))) or told("running"), "its end")


def test_a_picture_of_another_shape_in_a_folder_is_left_out_and_the_others_are_shown(
    start, observer, tmp_path
):
    folder = tmp_path / "images"
    folder.mkdir()
    for k, size in enumerate([(240, 320), (480, 480), (240, 320)]):
        (folder / f"{k}.jpg").write_bytes(encode_compressed(np.full((*size, 3), 60, np.uint8)))
    (tmp_path / "camera.yaml").write_text(CALIBRATION.format(width=320))
    calibration = str(tmp_path / "camera.yaml")
    node = start(NODE, source=str(folder), pacing="real_time", rate=50.0, calibration=calibration)
    assert node.wait() == 0
    assert "after 2 images, 1 skipped" in node.log and "480x480" in node.log
    assert "parameters calibration, fov_deg" in node.log and "--camera" not in node.log
