"""`smap-ros bag` on recordings of other people's drivers: no calibration, bad pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smap_ros.cli.bags import report_folders

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
FOV = 80  # of the scene's camera
ENGINE = ("--engine", "onnxruntime", "--threads", 1)


def header(k: int):
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=100 + k, nanosec=0)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id="cam")


def image(k: int, pixels: np.ndarray, size: int | None = None):
    height, width = pixels.shape[:2]
    return TYPES["sensor_msgs/msg/Image"](
        header=header(k), height=height, width=width, encoding="bgr8", is_bigendian=0,
        step=3 * width, data=pixels.reshape(-1)[:size],
    )  # fmt: skip


def camera_info(k: int, camera, calibrated: bool):
    matrix = camera.matrix.reshape(-1) * calibrated
    region = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(k), height=camera.height, width=camera.width, distortion_model="plumb_bob",
        d=np.zeros(5), k=matrix, r=np.eye(3).reshape(-1), p=np.zeros(12), binning_x=0, binning_y=0,
        roi=region,
    )  # fmt: skip


def write_bag(path: Path, scene, calibrated: bool, truncated: int | None = None) -> Path:
    """Four images, a second apart, one of them possibly truncated."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {}
        for k in range(4):
            pixels = scene.image(250)
            pixels[0, :50] = 10 * k
            for topic, message in (
                ("/cam/camera_info", camera_info(k, scene.camera, calibrated)),
                ("/cam/image_raw", image(k, pixels, 1000 if k == truncated else None)),
            ):
                if topic not in topics:
                    topics[topic] = writer.add_connection(
                        topic, message.__msgtype__, typestore=STORE
                    )
                data = STORE.serialize_cdr(message, message.__msgtype__)
                writer.write(topics[topic], (100 + k) * 10**9, data)
    return path


def numbers(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_without_calibration_nothing_is_worked_on_and_the_report_says_why(
    smap_ros, bundle, scene, tmp_path
):
    write_bag(tmp_path / "bag", scene, calibrated=False)
    words = ("bag", "bag", "--bundle", bundle, *ENGINE, "--report", "report")
    done = smap_ros(*words)
    assert done.returncode == 2
    assert "4 of 4 images have no usable CameraInfo" in done.stderr
    assert "no image of bag could be worked on; see report" in done.stderr
    got = numbers(tmp_path / "report")
    assert (got["images"], got["images_uncalibrated"], got["frames"]) == (4, 4, 0)
    done = smap_ros(*words, "--fov", FOV)
    assert done.returncode == 0, done.stderr
    got = numbers(tmp_path / "report")
    assert (got["images_uncalibrated"], got["frames"], got["people"]) == (0, 4, 12)


def test_pictures_that_cannot_be_decoded_are_counted(smap_ros, bundle, scene, tmp_path):
    write_bag(tmp_path / "bag", scene, calibrated=True, truncated=2)
    done = smap_ros("bag", "bag", "--bundle", bundle, *ENGINE, "--report", "report")
    assert done.returncode == 0
    assert "warning: 1 images can't be decoded and were left out" in done.stderr
    got = numbers(tmp_path / "report")
    assert (got["images_unusable"], got["frames"], got["people"]) == (1, 3, 9)
    assert "1 / 0" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bag"], "Missing option '--report'"),
        (["bag", "-r", "out", "--fov", "200"], "expected the horizontal field of view"),
        (["bag", "-r", "out", "--bundle", "none"], "no bundle 'none'"),
        (["bag", "-r", "out", "--recorded"], "has no people on topic bodies"),
        (["bag", "-r", "bag/metadata.yaml"], "can't write to the report folder"),
    ],
)
def test_what_the_user_must_change_is_said_in_one_line(smap_ros, scene, tmp_path, words, message):
    write_bag(tmp_path / "bag", scene, calibrated=True)
    done = smap_ros("bag", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def without_times(report: dict) -> dict:
    """What doesn't depend on how fast the machine was, or on where the report is."""
    return {k: v for k, v in report.items() if k not in ("latency_ms", "command")}


def test_several_bags_at_a_time_are_each_what_they_are_alone_and_a_bad_one_costs_no_other(
    smap_ros, bundle, scene, tmp_path
):
    for name, truncated in (("a/run", None), ("b/run", 1)):
        (tmp_path / name).parent.mkdir()
        write_bag(tmp_path / name, scene, calibrated=True, truncated=truncated)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.mcap").write_bytes(b"no bag")
    words = ("--bundle", bundle, *ENGINE)
    done = smap_ros("bag", "a/run", "bad", "b/run", *words, "--jobs", 2, "--report", "all")
    assert done.returncode == 2
    assert "1 of 3 bags couldn't be reported on, the others are in all: bad: " in done.stderr
    for bag, folder, frames in (("a/run", "run", 4), ("b/run", "b_run", 3)):
        assert smap_ros("bag", bag, *words, "--report", f"alone/{folder}").returncode == 0
        ours, alone = (numbers(tmp_path / place / folder) for place in ("all", "alone"))
        assert without_times(ours) == without_times(alone)
        assert folder in done.stdout and ours["frames"] == frames
    assert not (tmp_path / "all" / "bad" / "report.json").exists()


def test_the_same_bag_twice_is_refused(smap_ros, scene, tmp_path):
    write_bag(tmp_path / "bag", scene, calibrated=True)
    done = smap_ros("bag", "bag", "./bag", "--report", "out")
    assert done.returncode == 2 and "bag bag is given twice" in done.stderr


@pytest.mark.parametrize(
    ("bags", "names"),
    [(["a", "b"], ["a", "b"]), (["x/a", "y/a"], ["a", "y_a"]), (["a/b", "a_b"], ["b", "a_b"])],
)
def test_bags_of_one_name_have_folders_of_their_own(tmp_path, bags, names):
    folders = report_folders([tmp_path / bag for bag in bags], Path("out"))
    assert [path.name for path in folders.values()] == names
