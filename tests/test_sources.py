"""Readers of images: order, stamps, calibration, and files that are damaged."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smap_ros.errors import InputError
from smap_ros.images import encode_compressed
from smap_ros.paths import config_directory
from smap_ros.sources import is_bag, open_source
from smap_ros.sources.video import VideoSource


def shade(k: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A picture whose brightness says its number (modulo 12); its first rows are white."""
    image = np.full((*size, 3), 20 + 16 * (k % 12), np.uint8)
    # Noise, so that each frame of a video has bytes that can be damaged.
    image += np.random.default_rng(k).integers(0, 25, (*size, 1), np.uint8)
    image[:8] = 255
    return image


def number(image: np.ndarray) -> int:
    return round((float(np.median(image)) - 32) / 16)


def write_video(path: Path, frames: int = 20, codec: str = "libx264", **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        # Key frames all along, so that damage stays where it is.
        stream.codec_context.gop_size = 5
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(shade(k), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# --- files and folders ------------------------------------------------------------------------


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("people.jpg", "film.mp4", "bag.mcap"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="is a pipe or a device"):
            open_source(str(tmp_path / name))


def test_an_image_is_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), shade(3))
    source = open_source(str(tmp_path / "a.png"))
    (frame,) = source
    np.testing.assert_array_equal(frame.image, shade(3))
    assert (frame.index, frame.source, frame.camera, source.count) == (0, "a.png", None, 1)
    assert not source.moving


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    for k in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"img{k}.png"), shade(k))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._img1.png").write_bytes(b"\0\5")  # macOS leaves such in archives
    frames = list(open_source(str(tmp_path)))
    assert [frame.source for frame in frames] == ["img1.png", "img2.png", "img10.png"]
    assert [number(frame.image) for frame in frames] == [1, 2, 10]


def test_unreadable_images_of_a_folder_are_skipped_aloud(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "1.png"), shade(1))
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "3.jpg").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "4.png"), shade(4))
    frames = list(open_source(str(tmp_path)))
    assert [frame.index for frame in frames] == [0, 3]
    assert "2.png" in caplog.text
    assert "3.jpg (0 bytes)" in caplog.text


def test_grey_and_transparent_images_become_bgr(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 4), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((4, 4, 4), 9, np.uint8))
    assert all(frame.image.shape == (4, 4, 3) for frame in open_source(str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "doesn't exist; expected an image"),
        ("text.png", b"hello", "isn't an image that can be read"),
        ("text.mp4", b"hello", "can't be opened as a video"),
        ("empty.mp4", b"", "can't be opened as a video"),
        ("broken.mcap", b"hello", "can't be opened as a ROS bag"),
        ("broken.db3", b"hello", "can't be opened as a ROS bag"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(open_source(str(path)))


@pytest.mark.parametrize("fps", [0.001, 10_000])
def test_the_images_of_a_film_come_at_its_rate(tmp_path, fps):
    for k in range(2):
        cv2.imwrite(str(tmp_path / f"{k}.png"), shade(k))
    assert [frame.stamp for frame in open_source(str(tmp_path), fps=fps)] == [0, 1 / fps]


@pytest.mark.parametrize("fps", [0, -1, 1e-300, 0.0009, 10_001, 1e300, np.inf, np.nan])
def test_a_rate_that_no_film_has_is_refused(tmp_path, fps):
    cv2.imwrite(str(tmp_path / "0.png"), shade(0))
    with pytest.raises(InputError, match=r"expected a positive number, from 0\.001 to 10000"):
        open_source(str(tmp_path), fps=fps)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no images; expected files that end in"):
        open_source(str(tmp_path))


def test_a_bag_among_pictures_does_not_hide_them(tmp_path):
    write_bag(tmp_path / "bag", [])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert is_bag(tmp_path / "bag") and not is_bag(tmp_path) and not is_bag(tmp_path / "x.mcap")
    cv2.imwrite(str(tmp_path / "bag" / "a.png"), shade(3))
    assert not is_bag(tmp_path / "bag")
    assert [number(frame.image) for frame in open_source(str(tmp_path / "bag"))] == [3]


@pytest.mark.parametrize(
    ("metadata", "bag"),
    [
        ("title: holiday\n", False),
        ("rosbag2_bagfile_information: {version: 9}\n", True),
        ("{", False),
        ("- rosbag2_bagfile_information\n", False),
    ],
)
def test_metadata_beside_pictures_are_a_bags_only_where_they_say_so(tmp_path, metadata, bag):
    (tmp_path / "metadata.yaml").write_text(metadata)
    assert is_bag(tmp_path)  # without pictures a damaged bag is told as one
    cv2.imwrite(str(tmp_path / "a.png"), shade(3))
    assert is_bag(tmp_path) is bag
    if not bag:
        assert [number(frame.image) for frame in open_source(tmp_path)] == [3]


def test_sheet_and_plot_of_a_run_are_no_pictures_of_the_folder(tmp_path):
    for k, name in enumerate(("a.png", "contact_sheet.png", "poses_3d.png")):
        cv2.imwrite(str(tmp_path / name), shade(k))
    assert len(list(open_source(tmp_path))) == 3  # somebody's own
    (tmp_path / "bodies.json").write_text('{"frames": []}')
    source = open_source(tmp_path)
    assert (source.count, [frame.source for frame in source]) == (1, ["a.png"])


def test_a_topic_is_only_for_bags(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), shade(1))
    with pytest.raises(InputError, match="only for ROS bags"):
        open_source(str(tmp_path / "a.png"), topic="/image")


@pytest.mark.parametrize("spec", ["97", "/dev/video97", "9" * 30])
def test_a_camera_that_is_not_there_is_refused(spec, capfd):
    with pytest.raises(InputError, match="can't be opened; check that it exists"):
        open_source(spec)
    assert capfd.readouterr().err == ""  # OpenCV says it in lines of its own


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_stream_that_is_not_there_is_refused_with_its_reason(scheme, capfd):
    with pytest.raises(InputError, match=r"can't be opened: Connection refused") as told:
        open_source(f"{scheme}://admin:secret@127.0.0.1:1/stream")
    assert "secret" not in str(told.value) and f"{scheme}://127.0.0.1:1/stream" in str(told.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("spec", ["", " "])
def test_no_input_is_not_the_folder_that_one_is_in(spec):
    with pytest.raises(InputError, match="the input is empty; expected an image"):
        open_source(spec)


# --- videos -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_video_gives_all_frames_with_their_times(tmp_path, name, caplog):
    source = open_source(str(write_video(tmp_path / name)))
    frames = list(source)
    assert [number(frame.image) for frame in frames] == [k % 12 for k in range(20)]
    assert [frame.index for frame in frames] == list(range(20))
    assert np.diff([frame.stamp for frame in frames]) == pytest.approx(0.1, abs=2e-3)
    assert source.rate == pytest.approx(10)
    assert source.count == 20
    assert not caplog.text


def test_a_video_can_be_read_twice_and_left_early(tmp_path):
    source = open_source(str(write_video(tmp_path / "a.mp4")))
    assert next(iter(source)).index == 0
    assert len(list(source)) == 20
    source.close()
    assert len(list(source)) == 20


@pytest.mark.parametrize("keep", [0.4, 0.8, 0.97])
@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", {"movflags": "+faststart"}), ("a.mkv", {}), ("a.avi", {})]
)
def test_a_truncated_video_gives_what_is_there_and_a_warning(tmp_path, caplog, name, options, keep):
    path = write_video(tmp_path / name, frames=100, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    frames = list(open_source(str(path)))
    assert 100 * keep - 15 < len(frames) < 100
    assert [number(frame.image) for frame in frames] == [k % 12 for k in range(len(frames))]
    assert np.diff([frame.stamp for frame in frames]) == pytest.approx(0.1, abs=2e-3)
    assert f"after {len(frames)}" in caplog.text
    assert "damaged" in caplog.text
    source = VideoSource(path, repeatable=True)
    surveys = [source.survey() for _ in range(4)]
    assert surveys[0].size == (64, 48)
    # To the last frame: who counts them once reads as many.
    assert all(list(survey.stamps) == [f.stamp for f in source] for survey in surveys)


def test_a_video_whose_recording_was_not_closed_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-400])  # the index is at the end
    with pytest.raises(InputError, match="the recording may not have been closed"):
        open_source(str(path))


def test_a_video_damaged_in_the_middle_gives_the_frames_before(tmp_path, caplog):
    path = write_video(tmp_path / "a.mkv", frames=100)
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half : half + 400] = bytes(400)
    path.write_bytes(bytes(data))
    frames = list(open_source(str(path)))
    assert 10 < len(frames) < 90
    assert [number(frame.image) for frame in frames[:10]] == list(range(10))
    assert "damaged" in caplog.text


def test_a_phone_video_is_turned_upright(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=2)
    data = path.read_bytes()
    # The matrix of the track header: 48 px wide and 64 high when shown, turned clockwise.
    at = data.index(b"tkhd") + 4 + 40
    one, zero = 0x10000, 0
    turned = [zero, one, zero, -one, zero, zero, 48 * one, zero, 0x40000000]
    matrix = b"".join(v.to_bytes(4, "big", signed=True) for v in turned)
    assert data[at : at + 36] != matrix
    path.write_bytes(data[:at] + matrix + data[at + 36 :])
    image = next(iter(open_source(str(path)))).image
    assert image.shape == (64, 48, 3)
    # Turned clockwise, the white rows at the top are columns on the right.
    assert image[:, -5:].min() > 200 > 80 > image[:, :-12].max()
    assert VideoSource(path).survey().size == (48, 64)


def test_a_file_with_sound_only_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video stream"):
        open_source(str(path))


# --- bags -------------------------------------------------------------------------------------

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types


def header(k: int, frame: str = "cam"):
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=100 + k, nanosec=500_000_000)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def raw_image(k: int):
    image = shade(k)
    return TYPES["sensor_msgs/msg/Image"](
        header=header(k), height=48, width=64, encoding="bgr8", is_bigendian=0, step=192,
        data=image.reshape(-1),
    )  # fmt: skip


def jpeg_image(k: int):
    data = np.frombuffer(encode_compressed(shade(k), "jpeg"), np.uint8)
    return TYPES["sensor_msgs/msg/CompressedImage"](header=header(k), format="jpeg", data=data)


def camera_info(k: int, fx: float):
    matrix = np.array([fx, 0, 31.5, 0, fx, 23.5, 0, 0, 1.0 if fx else 0])
    if not fx:
        matrix[:] = 0
    region = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(k), height=48, width=64, distortion_model="plumb_bob", d=np.zeros(5),
        k=matrix, r=np.eye(3).reshape(-1), p=np.zeros(12), binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip


def write_bag(path: Path, messages, plugin=StoragePlugin.MCAP) -> Path:
    """Messages are (topic, message), a second apart in pairs."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for k, (topic, message) in enumerate(messages):
            if topic not in connections:
                connections[topic] = writer.add_connection(
                    topic, message.__msgtype__, typestore=STORE
                )
            writer.write(
                connections[topic], 10**9 * k, STORE.serialize_cdr(message, message.__msgtype__)
            )
    return path


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
@pytest.mark.parametrize("make", [raw_image, jpeg_image])
def test_a_bag_gives_images_with_stamps_frames_and_the_calibration(tmp_path, plugin, make):
    topic = "/cam/image_raw" + ("/compressed" if make is jpeg_image else "")
    # The image comes before the first CameraInfo, as may happen.
    messages = [(topic, make(0)), ("/cam/camera_info", camera_info(0, 80.0))]
    messages += [(topic, make(1)), ("/cam/camera_info", camera_info(2, 90.0)), (topic, make(2))]
    source = open_source(str(write_bag(tmp_path / "bag", messages, plugin)))
    frames = list(source)
    assert source.calibrated
    assert source.count == 3
    assert [number(frame.image) for frame in frames] == [0, 1, 2]
    assert [frame.stamp for frame in frames] == [100.5, 101.5, 102.5]
    assert {frame.frame_id for frame in frames} == {"cam"}
    assert [frame.camera.fx for frame in frames] == [80, 80, 90]


def test_a_bag_is_opened_by_its_file_too(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/image", raw_image(0))])
    assert len(list(open_source(str(bag / "bag.mcap")))) == 1


def test_the_calibrated_colour_topic_is_picked_or_the_one_asked_for(tmp_path):
    messages = [("/depth/image_raw", raw_image(9))] * 3
    messages += [("/depth/camera_info", camera_info(0, 70.0)), ("/other/image", raw_image(5))] * 2
    messages += [("/cam/image", raw_image(1)), ("/cam/camera_info", camera_info(0, 80.0))]
    bag = str(write_bag(tmp_path / "bag", messages))
    assert open_source(bag).name == "bag:/cam/image"
    assert [number(frame.image) for frame in open_source(bag, topic="other/image")] == [5, 5]
    with pytest.raises(InputError, match=r"no image topic '/nope'; it has /cam/image .*, /depth"):
        open_source(bag, topic="/nope")


def test_an_uncalibrated_camera_info_is_no_calibration(tmp_path):
    messages = [("/cam/camera_info", camera_info(0, 0.0)), ("/cam/image", raw_image(1))]
    (frame,) = open_source(str(write_bag(tmp_path / "bag", messages)))
    assert frame.camera is None
    assert "/cam/camera_info: K is all zeros" in frame.problem


def test_images_that_contradict_themselves_are_skipped_aloud(tmp_path, caplog):
    bad = raw_image(1)
    short = type(bad)(**{**vars(bad), "data": bad.data[:100]})
    messages = [("/image", raw_image(0)), ("/image", short), ("/image", raw_image(2))]
    frames = list(open_source(str(write_bag(tmp_path / "bag", messages))))
    assert [frame.index for frame in frames] == [0, 2]
    assert "truncated" in caplog.text


def test_a_bag_without_images_is_refused(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/cam/camera_info", camera_info(0, 80.0))])
    with pytest.raises(InputError, match="has no images; expected a topic of type"):
        open_source(str(bag))


def test_paths_are_taken_as_they_are():
    clip = config_directory() / "demo" / "clip.mp4"
    assert next(iter(open_source(clip))).image.shape == (432, 768, 3)
