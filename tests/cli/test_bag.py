"""`smap-ros bag` on recordings of other people's drivers: no calibration, bad pictures."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smap_ros.cli.bags import report_folders
from smap_ros.evaluation.common.scenes import VISIBLE
from smap_ros.evaluation.virtual.truth import read_clip
from tests.bag_messages import STORE as TRUTH_STORE
from tests.bag_messages import body_array
from tests.bag_messages import write_bag as write_messages

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
FOV = 80  # of the scene's camera
ROBOT = Path(__file__).parents[1] / "robot_bag"
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


def test_images_count_up_to_the_last_though_it_cannot_be_decoded(smap_ros, bundle, scene, tmp_path):
    write_bag(tmp_path / "bag", scene, calibrated=True, truncated=3)
    done = smap_ros("bag", "bag", "--bundle", bundle, *ENGINE, "--report", "report")
    assert done.returncode == 0
    assert "warning: 1 images can't be decoded and were left out" in done.stderr
    got = numbers(tmp_path / "report")
    assert (got["images"], got["images_unusable"], got["frames"]) == (4, 1, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bag"], "Missing option '--report'"),
        (["bag", "-r", "out", "--fov", "200"], "expected the horizontal field of view"),
        (["bag", "-r", "out", "--bundle", "none"], "no bundle 'none'"),
        (["bag", "-r", "out", "--recorded"], "has no people on topic bodies"),
        (
            ["bag", "-r", "out", "--recorded", "--every", 2, "--max-frames", 3],
            "leave out what is for people found anew: --every, --max-frames",
        ),
        (
            ["bag", "other", "-r", "out", "--recorded", "--fov", 80],
            "leave out what is for people found anew: --fov",
        ),
        (["bag", "-r", "out", "--recorded", "--camera", "c.yaml"], "found anew: --camera"),
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


@pytest.mark.parametrize(
    "where",
    [
        (),
        pytest.param(
            ("--ray", "local"),
            marks=[
                pytest.mark.slow,  # a cluster starts in seconds
                pytest.mark.skipif(
                    importlib.util.find_spec("ray") is None, reason="pip install 'smap-ros[ray]'"
                ),
            ],
        ),
    ],
)
def test_several_bags_at_a_time_are_each_what_they_are_alone_and_a_bad_one_costs_no_other(
    smap_ros, bundle, scene, tmp_path, where
):
    for name, truncated in (("a/run", None), ("b/run", 1)):
        (tmp_path / name).parent.mkdir()
        write_bag(tmp_path / name, scene, calibrated=True, truncated=truncated)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.mcap").write_bytes(b"no bag")
    words = ("--bundle", bundle, *ENGINE)
    done = smap_ros("bag", "a/run", "bad", "b/run", *words, "--jobs", 2, *where, "--report", "all")
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


def with_truth_on_a_topic(
    folder: Path, out: Path, found: Sequence[str] = (), begins: int = 0
) -> Path:
    """The robot's recording with its truth as messages beside the images.

    ``found``: topics of people found: ``bodies_raw`` trembles, of ``bodies`` one is predicted in
    every picture, a metre off. ``begins``: images that the truth leaves out at the start.
    """
    scenes = read_clip(folder / "truth.json")
    with AnyReader([folder / "bag"]) as reader, Writer(out, version=9) as writer:
        topics = {
            c.id: writer.add_connection(c.topic, c.msgtype, typestore=TRUTH_STORE)
            for c in reader.connections
        }
        people = {
            name: writer.add_connection(f"/{name}", "smap_ros/msg/BodyArray", typestore=TRUTH_STORE)
            for name in ("truth", *found)
        }
        rng = np.random.default_rng(0)
        images = iter(scenes)
        for connection, stamp, raw in reader.messages():
            writer.write(topics[connection.id], stamp, raw)
            if connection.msgtype == "sensor_msgs/msg/CompressedImage":
                header = reader.deserialize(raw, connection.msgtype).header
                scene = next(images)
                for name, topic in people.items():
                    if name == "truth" and scene.frame.index < begins:
                        continue
                    noise = {"truth": 0.0, "bodies_raw": 0.05, "bodies": 0.005}[name]
                    message = true_people(scene, header, lambda n, by=noise: rng.normal(0, by, n))
                    if name == "bodies":
                        message.bodies.append(guessed(message.bodies[0]))
                    data = TRUTH_STORE.serialize_cdr(message, "smap_ros/msg/BodyArray")
                    writer.write(topic, stamp, data)
    return out


def guessed(body):
    points = [replace(point, x=point.x + 1.0) for point in body.positions]
    return replace(body, id=77, predicted=True, positions=points)


def true_people(scene, header, noise=np.zeros):
    types = TRUTH_STORE.types
    bodies = []
    for body, visible in zip(scene.frame, scene.visibility, strict=True):
        joints = np.flatnonzero((visible == VISIBLE) | (np.arange(15) == 2))
        places = body.joints_3d[joints] + noise((len(joints), 3))
        points = [types["geometry_msgs/msg/Point"](*map(float, p)) for p in places]
        pose = types["geometry_msgs/msg/Pose"](
            position=points[0], orientation=types["geometry_msgs/msg/Quaternion"](0, 0, 0, 1)
        )
        bodies.append(
            types["smap_ros/msg/Body"](
                id=body.id, score=1.0, box=np.zeros(4, np.float32), joints=joints.astype(np.uint8),
                positions=points, pixels=body.joints_2d[joints].reshape(-1),
                scores=np.ones(len(joints), np.float32), pose=pose, pose_oriented=False,
                predicted=False, depth_std=0.0,
            )
        )  # fmt: skip
    return types["smap_ros/msg/BodyArray"](
        header=header, skeleton="mpi15", image_width=448, image_height=256, bodies=bodies
    )


def test_a_robots_recording_is_judged_by_a_file_or_a_topic_with_the_camera_from_tf(
    smap_ros, tmp_path
):
    bag = with_truth_on_a_topic(ROBOT, tmp_path / "bag")
    words = ("bag", bag, "--bundle", "smap_lite", *ENGINE, "--flip-test", "off")
    words += ("--smoothing", "maed")  # whichever network smap_lite is by now
    found = {}
    truths = {"file": ("--truth", ROBOT / "truth.json"), "topic": ("--truth-topic", "/truth")}
    for out, truth in truths.items():
        done = smap_ros(*words, *truth, "--report", out)
        assert done.returncode == 0, done.stderr
        assert "after our tracker and smoother maed" in done.stdout
        found[out] = numbers(tmp_path / out)["truth"]
    for truth in found.values():
        before, after = truth["before_smoothing"], truth["after_smoothing"]
        assert truth["smoother"] == "maed"
        assert after["world"]["frame"] == "odom"
        assert after["world"]["acceleration"] < before["world"]["acceleration"]
        assert after["motion"]["switches"] == 0
        for measure in ("mpjpe_mm", "acceleration", "bones_percent", "jerk"):
            assert after["motion"][measure] < before["motion"][measure], measure
        if after["identities"] is not None:
            assert after["identities"]["hota"] > 70 and after["identities"]["switches"] == 0
    lags = [truth["after_smoothing"]["motion"]["lag"] for truth in found.values()]
    assert lags[0] == pytest.approx(lags[1], abs=0.5)
    done = smap_ros(*words, "--truth-topic", "/nothing", "--report", "no")
    assert done.returncode == 2 and "has no people on topic /nothing; it has truth" in done.stderr


def test_what_was_smoothed_when_recorded_is_compared_with_what_was_not(smap_ros, tmp_path):
    """And joints are judged where they are in the world, as the bag's TF tells it."""
    words, told = ("--recorded", "--truth-topic", "/truth", "--report"), {}
    for name, topics in {"both": ("bodies_raw", "bodies"), "smooth": ("bodies",)}.items():
        bag = with_truth_on_a_topic(ROBOT, tmp_path / name, topics)
        done = smap_ros("bag", bag, *words, f"of_{name}")
        assert done.returncode == 0, done.stderr
        told[name] = numbers(tmp_path / f"of_{name}")
    truth = told["both"]["truth"]
    assert truth["smoother"] == "as recorded" and "after smoothing, as recorded" in (
        tmp_path / "of_both" / "report.md"
    ).read_text(encoding="utf-8")
    raw, smooth = truth["before_smoothing"], truth["after_smoothing"]
    # A normal deviation s of each coordinate, of joint and pelvis: sqrt(2) s sqrt(8 / pi).
    expected = 1000 * np.sqrt(2) * np.sqrt(8 / np.pi) * 14 / 15
    assert raw["motion"]["mpjpe_mm"] == pytest.approx(0.05 * expected, rel=0.15)
    assert smooth["motion"]["mpjpe_mm"] == pytest.approx(0.005 * expected, rel=0.15)
    assert smooth["motion"]["acceleration"] < 0.2 * raw["motion"]["acceleration"]
    assert smooth["motion"]["switches"] == 0  # who is predicted isn't among them
    for one, deviation in ((raw, 0.05), (smooth, 0.005)):
        world = one["world"]
        assert world["frame"] == "odom"
        assert world["mpjpe_mm"] == pytest.approx(1000 * deviation * np.sqrt(8 / np.pi), rel=0.1)
        assert 0 < world["acceleration"] < 1000 * deviation * np.sqrt(6) * np.sqrt(8 / np.pi) * 1.2
    assert 0.9 < smooth["world"]["jerk"] < 2 < raw["world"]["jerk"]
    # Smoothed anew where that is asked for.
    done = smap_ros("bag", tmp_path / "both", *words, "rts", "--smoothing", "rts")
    anew = numbers(tmp_path / "rts")["truth"]
    assert anew["smoother"] == "rts" and anew["before_smoothing"] == raw
    assert smooth["motion"]["mpjpe_mm"] < anew["after_smoothing"]["motion"]["mpjpe_mm"]
    assert any("no bodies_raw" in warning for warning in told["smooth"]["warnings"])


def test_a_truth_that_begins_late_is_of_the_images_that_it_was_recorded_with(smap_ros, tmp_path):
    bag = with_truth_on_a_topic(ROBOT, tmp_path / "late", ("bodies_raw",), begins=9)
    words = ("--recorded", "--truth-topic", "/truth", "--report", "report")
    done = smap_ros("bag", bag, *words)
    assert done.returncode == 0, done.stderr
    truth = numbers(tmp_path / "report")["truth"]
    assert truth["recall"] == 1
    expected = 1000 * 0.05 * np.sqrt(2) * np.sqrt(8 / np.pi) * 14 / 15
    assert truth["before_smoothing"]["motion"]["mpjpe_mm"] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("files", "truth", "told"),
    [
        (("lost.db3", "bag.db3"), ("--truth", ROBOT / "truth.json"), "(--truth-topic)"),
        (("lost.db3", "bag.db3"), ("--truth-topic", "/truth"), ""),
        (("bag.db3", "lost.db3"), ("--truth", ROBOT / "truth.json"), ""),
    ],
)
def test_a_bag_without_its_first_part_is_compared_with_no_truth_of_a_file(
    smap_ros, tmp_path, files, truth, told
):
    bag = with_truth_on_a_topic(ROBOT, tmp_path / "bag", ("bodies_raw",))
    metadata = bag / "metadata.yaml"
    listed = "\n".join(f"  - {file}" for file in files)
    metadata.write_text(metadata.read_text().replace("  - bag.db3", listed))
    done = smap_ros("bag", bag, "--recorded", *truth, "--report", "report")
    assert "lacks lost.db3" in done.stderr
    if told:
        assert done.returncode == 2 and told in done.stderr
        assert "lacks its first part" in done.stderr and "can't be told; give" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    else:
        assert done.returncode == 0, done.stderr
        assert numbers(tmp_path / "report")["truth"]["recall"] == 1


def whole_people(stamp: float, frame: str, scene):
    """The people of a scene with all of their joints."""
    message = body_array(stamp, frame, [tuple(map(float, joints[2])) for joints in scene.joints])
    point = TRUTH_STORE.types["geometry_msgs/msg/Point"]
    for k, joints in enumerate(scene.joints):
        message.bodies[k] = replace(
            message.bodies[k],
            joints=np.arange(15, dtype=np.uint8),
            positions=[point(*map(float, place)) for place in joints],
            pixels=scene.camera.project(joints).astype(np.float32).reshape(-1),
            scores=np.ones(15, np.float32),
        )
    return message


def two_cameras(path: Path, scene) -> Path:
    """The left sees nobody, the right the scene, whose true people are on a topic."""

    def messages():
        for k in range(3):
            for side, value in (("left", 0), ("right", 250)):
                info, shown = camera_info(k, scene.camera, True), image(k, scene.image(value))
                for message in (info, shown):
                    message.header.frame_id = side
                yield f"/{side}/camera_info", info
                yield f"/{side}/image_raw", shown
            yield "/right/true_people", whole_people(100 + k, "right", scene)

    return write_messages(path, messages())


@pytest.mark.parametrize("truth", ["/right/true_people", "true_people"])
def test_people_are_found_in_the_camera_that_the_truth_is_of(
    smap_ros, bundle, scene, tmp_path, truth
):
    two_cameras(tmp_path / "bag", scene)
    words = (
        "bag",
        "bag",
        "--bundle",
        bundle,
        *ENGINE,
        "--truth-topic",
        truth,
        "--report",
        "report",
    )
    done = smap_ros(*words)
    assert done.returncode == 0, done.stderr
    got = numbers(tmp_path / "report")
    assert got["camera_from"].startswith("/right/image_raw: ")
    truth = got["truth"]
    assert (got["people"], truth["people"], truth["matched"], truth["false"]) == (9, 9, 9, 0)
    for option in ("--image-topic", "--topic"):
        done = smap_ros(*words, option, "/left/image_raw")
        assert done.returncode == 2
        assert "are of /right/image_raw, not of /left/image_raw; choose their" in done.stderr


def test_people_stand_on_the_floor_that_the_bags_tf_tells(smap_ros, tmp_path):
    words = (
        "bag",
        ROBOT / "bag",
        "--bundle",
        "smap_lite",
        *ENGINE,
        "--truth",
        ROBOT / "truth.json",
    )
    floor = ("--on-floor", "true", "--world-frame", "odom")
    told = {}
    for out, further in {"plain": (), "floor": floor}.items():
        done = smap_ros(*words, *further, "--report", out)
        assert done.returncode == 0, done.stderr
        told[out] = numbers(tmp_path / out)
    plain, put = (told[name]["truth"] for name in ("plain", "floor"))
    assert put["root_depth_percent"] < 0.85 * plain["root_depth_percent"]
    before = [truth["before_smoothing"]["world"]["mpjpe_mm"] for truth in (plain, put)]
    assert before[1] < before[0]
    assert "--on-floor true" in told["floor"]["command"]
    assert "--world-frame odom" in told["floor"]["command"]


def test_images_without_their_mounting_are_counted_as_such(smap_ros, tmp_path):
    words = ("bag", ROBOT / "bag", "--bundle", "smap_lite", *ENGINE, "--report", "report")
    done = smap_ros(*words, "--on-floor", "true", "--world-frame", "nowhere")
    assert done.returncode == 2 and "TF doesn't connect" in done.stderr
    warnings = numbers(tmp_path / "report")["warnings"]
    assert any("39 of 39 images were left out: TF doesn't tell" in one for one in warnings)
    assert not any("can't be decoded" in one for one in warnings)
    for further, reason in {
        ("--world-frame", "odom"): "bundle 'smap_lite' is of kind 'smap', which needs no floor",
        ("--on-floor", "true"): "where the floor is isn't known",
        ("--recorded", "--world-frame", "odom"): "leave out what is for people found anew",
        ("--recorded", "--min-joints", "5"): "found anew: --min-joints",
    }.items():
        done = smap_ros(*words, *further)
        assert done.returncode == 2 and reason in done.stderr


def test_images_without_their_mounting_count_up_to_the_last_that_was_asked_for(smap_ros, tmp_path):
    """TF ends early; the source reads farther than the images that are worked on."""
    store, topics = get_typestore(Stores.ROS2_JAZZY), {}
    with (
        AnyReader([ROBOT / "bag"]) as reader,
        Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        end = reader.start_time + 0.6 * reader.duration
        for connection, time, raw in reader.messages():
            if connection.topic == "/tf" and time > end:
                continue
            if connection.topic not in topics:
                topics[connection.topic] = writer.add_connection(
                    connection.topic, connection.msgtype, typestore=store
                )
            writer.write(topics[connection.topic], time, raw)
    words = ("bag", "bag", "--bundle", "smap_lite", *ENGINE, "--on-floor", "true")
    words += ("--world-frame", "odom")
    done = smap_ros(*words, "--report", "all")
    assert done.returncode == 0, done.stderr
    told = numbers(tmp_path / "all")
    images, mounted = told["images"], told["frames"]
    assert images == 39 and 0 < mounted < images and told["images_unusable"] == 0
    left = f"{images - mounted} of {images} images were left out: TF doesn't tell"
    assert any(left in warning for warning in told["warnings"])
    done = smap_ros(*words, "--max-frames", mounted, "--report", "first")
    assert done.returncode == 0, done.stderr
    told = numbers(tmp_path / "first")
    assert (told["images"], told["frames"], told["images_unusable"]) == (mounted, mounted, 0)
    assert not any("left out" in warning for warning in told["warnings"])
