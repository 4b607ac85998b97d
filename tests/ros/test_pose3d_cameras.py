"""The pose node and what drivers say of their cameras: rectified images, windows, nonsense."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from smap_ros.errors import CameraError
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import bodies_from_message, info_from_camera
from smap_ros.nodes.pipeline import LiveCameras
from smap_ros.nodes.pose3d import Pose3dNode
from tests.ros.pose3d_client import ENGINE, NODE, answer, stamp_of

FRAME = "robot/camera_optical"


class Driver:
    """Publishes images and their calibration on topics of its own."""

    def __init__(self, observer, eye, image, info="/cam/camera_info"):
        self.observer, self.eye = observer, eye
        self.images = observer.publisher(Image, image, qos.SENSOR)
        self.infos = observer.publisher(CameraInfo, info, qos.SENSOR)
        self.bodies = observer.collect(BodyArray, "bodies_raw")

    def info(self, **fields):
        """That of the scene's camera, but for these fields; its stamp is that of the next image."""
        info = info_from_camera(self.eye.camera, self.eye.header(), (1280, 720))
        for name, value in fields.items():
            setattr(info, name, value)
        return info

    def show(self, info=None):
        if info is not None:
            self.infos.publish(info)
            time.sleep(0.2)
        return self.eye.show(None, self.images)

    def people(self, info):
        """Their places, once the node knows the calibration."""

        def seen():
            self.shown = self.show(info)
            time.sleep(0.3)
            return any(stamp_of(m) == self.shown for m in list(self.bodies))

        self.observer.wait(seen, "people")
        return bodies_from_message(answer(self.observer, self.bodies, self.shown))

    def error(self, info):
        """What diagnostics say of an image with this calibration, of which no people come."""
        before = int(self.observer.values(NODE).get("frames rejected", 0))

        def refused():
            self.shown = self.show(info)
            return int(self.observer.values(NODE).get("frames rejected", 0)) > before

        self.observer.wait(refused, "a refusal")
        status = self.observer.wait(
            lambda: (s := self.observer.status(NODE)) and s.level == DiagnosticStatus.ERROR and s,
            "an error",
        )
        assert all(stamp_of(message) != self.shown for message in list(self.bodies))
        return status.message


@pytest.fixture
def driven(start, observer, eye, scene_bundle):
    """A node for images of a topic, and its driver."""

    def begin(image, *, info="/cam/camera_info", heard="/cam/camera_info", **parameters):
        remaps = ("-r", f"image:={image}", "-r", f"camera_info:={heard}")
        node = start(NODE, *remaps, bundle=scene_bundle, **ENGINE, **parameters)
        driver = Driver(observer, eye, image, info)
        observer.wait(driver.images.get_subscription_count, "a subscriber of the images")
        observer.wait(driver.infos.get_subscription_count, "a subscriber of the calibration")
        observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher of people")
        return node, driver

    return begin


def truth(bodies, scene):
    """Whether the people are where they are in the scene."""
    pairs = zip(bodies, scene.joints, strict=True)
    return all(
        np.linalg.norm(body.joints_3d - joints, axis=1).max() < 0.05 for body, joints in pairs
    )


def distorted(camera):
    """K and D of the raw image whose rectified one is the scene's."""
    k = camera.matrix.reshape(-1).copy()
    k[[0, 4]] *= 0.8
    return {"k": k, "d": [-0.3, 0.1, 0.0, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("image", "parameters"),
    [("/cam/image_rect_color", {}), ("/cam/image", {"rectified": "yes"}),
     ("/cam/image", {"rectified": True})],  # as YAML reads yes
)  # fmt: skip
def test_people_of_rectified_images_stand_where_p_says(driven, observer, scene, image, parameters):
    node, driver = driven(image, **parameters)
    assert truth(driver.people(driver.info(**distorted(scene.camera))), scene)
    observer.wait(
        lambda: (
            "rectified images, so P without distortion" in observer.values(NODE).get("camera", "")
        ),
        "the decision in the diagnostics",
    )
    assert f"images of {image} are taken as rectified" in node.log


def test_people_of_raw_images_stand_where_k_and_d_say(driven, observer, scene):
    _, driver = driven("/cam/image_raw")
    k = distorted(scene.camera)
    bodies = driver.people(driver.info(**k))
    depth = np.array([body.root[2] for body in bodies]) / scene.joints[:, 2, 2]
    assert (depth < 0.9).all()  # the lens and the shorter focal length bring them nearer
    # A driver that goes on saying it is asked for nothing latched: it would warn of that.
    listeners = observer.node.get_subscriptions_info_by_topic("/cam/camera_info")
    assert [listener.node_name for listener in listeners] == [NODE]
    observer.wait(
        lambda: "so K with its dist" in observer.values(NODE).get("camera", ""), "the decision"
    )


def test_the_calibration_of_rectified_images_beside_them_is_heard(driven, scene):
    _, driver = driven("/cam/image_rect", info="/cam/camera_info_rect")
    assert truth(driver.people(driver.info()), scene)


def test_a_calibration_that_was_said_once_before_the_node_came_is_heard(
    observer, eye, start, scene, scene_bundle
):
    driver = Driver(observer, eye, "/cam/image")
    observer.publisher(CameraInfo, "/cam/camera_info", qos.LATCHED).publish(driver.info())
    remaps = ("-r", "image:=/cam/image", "-r", "camera_info:=/cam/camera_info")
    start(NODE, *remaps, bundle=scene_bundle, **ENGINE)
    observer.wait(driver.images.get_subscription_count, "a subscriber of the images")
    assert truth(driver.people(None), scene)
    closer = scene.camera.matrix.reshape(-1) * np.array([0.5, 1, 1, 1, 0.5, 1, 1, 1, 1])
    changed = driver.people(driver.info(k=closer))
    assert not truth(changed, scene)  # what comes now wins


def test_rectified_images_whose_own_calibration_was_said_once_are_told_by_it(
    observer, eye, start, scene, scene_bundle
):
    driver = Driver(observer, eye, "/cam/image_rect")
    said = observer.publisher(CameraInfo, "/cam/camera_info_rect", qos.LATCHED)
    said.publish(driver.info())
    remaps = ("-r", "image:=/cam/image_rect", "-r", "camera_info:=/cam/camera_info")
    start(NODE, *remaps, bundle=scene_bundle, **ENGINE)
    observer.wait(driver.images.get_subscription_count, "a subscriber of the images")
    assert truth(driver.people(None), scene)


@pytest.fixture
def said(scene):
    """Makes what a driver says of the scene's camera with another focal length, at a time."""

    def info(stamp, focal):
        whole = int(stamp)
        time = Time(sec=whole, nanosec=round((stamp - whole) * 1e9))
        header = Header(frame_id="eye", stamp=time)
        return info_from_camera(replace(scene.camera, fx=focal, fy=focal), header, (1280, 720))

    return info


def focal_at(cameras, stamp):
    return cameras.camera("eye", 1280, 720, stamp).fx


def test_a_lens_that_is_said_once_by_a_driver_whose_stamps_began_anew_is_its_images(said):
    cameras = LiveCameras()
    cameras.take_early_info(said(1000, 700.0))
    assert focal_at(cameras, 1001.0) == 700
    cameras.take_early_info(said(5, 1400.0))
    assert focal_at(cameras, 1001.5) == 700  # the first driver's still
    assert focal_at(cameras, 5.2) == 1400
    # However long it goes on.
    assert focal_at(cameras, 999.0) == focal_at(cameras, 2000.0) == 1400
    cameras.take_early_info(said(3, 900.0))  # again, as early as the one before
    assert focal_at(cameras, 2001.0) == 1400
    assert focal_at(cameras, 3.2) == focal_at(cameras, 2001.0) == 900


@pytest.mark.parametrize("before", [1.5, 1000.0])
def test_an_image_that_comes_before_the_early_calibration_of_stamps_that_began_anew(said, before):
    cameras = LiveCameras()
    cameras.take_early_info(said(before, 500.0))
    assert focal_at(cameras, before + 60) == 500
    assert focal_at(cameras, 0.1) == 500  # nobody has said anything else yet
    cameras.take_early_info(said(0.05, 900.0))
    assert focal_at(cameras, 0.2) == focal_at(cameras, 30.0) == focal_at(cameras, 2000.0) == 900


def test_what_was_said_before_a_driver_that_goes_on_is_forgotten_with_its_time(said):
    cameras = LiveCameras()
    cameras.take_info(said(1000, 700.0))
    cameras.take_early_info(said(997, 1400.0))  # a straggler
    assert focal_at(cameras, 990.0) == 700
    cameras.take_early_info(said(50, 1400.0))
    cameras.take_info(said(7, 900.0))  # began anew by itself
    cameras.take_info(said(300, 900.0))
    assert focal_at(cameras, 52.0) == focal_at(cameras, 300.0) == 900


def test_images_of_another_clock_have_the_newest_lens(said):
    cameras = LiveCameras()
    for second in range(20):
        cameras.take_info(said(1000 + second, 700.0 if second < 10 else 1400.0))
    assert focal_at(cameras, 500.0) == 1400  # seconds since the camera was switched on
    assert focal_at(cameras, 1005.0) == focal_at(cameras, 999.0) == 700


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(
    ("first", "then", "wins"),
    [(100, 100, True), (100, 200, True), (100, 50, False), (100, 0, True), (0, 100, True)],
)
def test_of_calibrations_that_are_said_once_the_newest_wins(scene, rectified, first, then, wins):
    cameras = LiveCameras()
    if rectified:
        cameras.decide("auto", "/cam/image_rect", "/cam/camera_info")
    take, early = (
        (cameras.take_rectified_info, cameras.take_early_rectified_info)
        if rectified
        else (cameras.take_info, cameras.take_early_info)
    )

    def said(stamp, focal):
        header = Header(frame_id="eye", stamp=Time(sec=stamp))
        return info_from_camera(replace(scene.camera, fx=focal, fy=focal), header, (1280, 720))

    take(said(first, 700.0))
    early(said(then, 1400.0))
    assert cameras.camera("eye", 1280, 720, 300.0).fx == (1400.0 if wins else 700.0)


def test_a_node_that_is_cleaned_up_forgets_the_cameras_but_not_what_is_stated(
    spin, scene, scene_bundle
):
    # Under a name of its own: rclpy keeps a life cycle's node in the graph for a while.
    named = partial(Pose3dNode, cli_args=["--ros-args", "-r", "__node:=cleaned_up"])
    node = spin(named, bundle=scene_bundle, autostart=False, **ENGINE)
    cameras, header = node._cameras, Header(frame_id="eye", stamp=Time(sec=100))
    node.trigger_configure()
    cameras.take_info(info_from_camera(scene.camera, header, (1280, 720)))
    assert cameras.camera("eye", 1280, 720, 100.0).fx == pytest.approx(scene.camera.fx)
    node.trigger_cleanup()
    with pytest.raises(CameraError, match="no CameraInfo for frame 'eye'"):
        cameras.camera("eye", 1280, 720, 100.0)
    cameras.fov_deg = 70.0
    node.trigger_configure()
    node.trigger_cleanup()
    assert cameras.camera("eye", 1280, 720, 100.0).fov == pytest.approx(np.deg2rad(70))


def test_a_node_that_is_cleaned_up_gives_the_models_memory_back(spin, scene_bundle, monkeypatch):
    asked = []
    monkeypatch.setattr("smap_ros.nodes.pose3d.give_back_memory", lambda: asked.append(node))
    named = partial(Pose3dNode, cli_args=["--ros-args", "-r", "__node:=given_back"])
    node = spin(named, bundle=scene_bundle, autostart=False, **ENGINE)
    node.trigger_configure()
    assert not asked
    node.trigger_cleanup()
    assert asked == [node] and node._pipeline is None


def test_of_images_of_another_size_a_calibration_file_is_said_to_be_the_camera_nodes(scene):
    cameras = LiveCameras()
    cameras.take_info(info_from_camera(scene.camera, Header(frame_id="eye"), (1280, 720)))
    with pytest.raises(CameraError, match=r"images are camera_node's .*, give a calibration file"):
        cameras.camera("eye", 640, 360, 100.0)


def test_a_window_of_the_sensor_is_taken_off(driven, scene):
    _, driver = driven("/cam/image_raw")
    info = driver.info(width=1600, height=1000)
    info.k[2] += 200
    info.k[5] += 150
    info.roi = RegionOfInterest(x_offset=200, y_offset=150, width=1280, height=720)
    assert truth(driver.people(info), scene)


NONSENSE = {
    "normalised": ({"k": [0.6, 0.0, 0.5, 0.0, 1.06, 0.5, 0.0, 0.0, 1.0]}, "normalised"),
    "endless": ({"k": [1e9, 0.0, 640.0, 0.0, 1e9, 360.0, 0.0, 0.0, 1.0]}, "K is impossible"),
    "far off": ({"k": [760.0, 0.0, 9e3, 0.0, 760.0, 360.0, 0.0, 0.0, 1.0]}, "principal point"),
    "wild lens": ({"d": [-50.0, 3.0, 0.0, 0.0, 0.0]}, "folds over"),
    "another size": ({"width": 1200}, "calibrated for 1200x720 px, but the image is 1280x720"),
    "unknown lens": ({"d": [0.1] * 4, "distortion_model": "mei"}, "'mei' is unknown"),
    "a window beyond the sensor": (
        {"roi": RegionOfInterest(x_offset=900, width=800, height=720)}, "beyond the 1280x720 px"
    ),
    "no calibration": ({"k": [0.0] * 9}, "K is all zeros"),
}  # fmt: skip


def test_nonsense_is_an_error_and_nobody_until_it_is_right_again(driven, scene):
    node, driver = driven("/cam/image_raw")
    assert truth(driver.people(driver.info()), scene)
    for name, (fields, words) in NONSENSE.items():
        said = driver.error(driver.info(**fields))
        assert words in said and "fov_deg" in said, f"{name}: {said}"
        for once in ("CameraInfo of frame", "horizontal field of view", "fov_deg"):
            assert said.count(once) <= 1, f"{name} repeats itself: {said}"
    assert truth(driver.people(driver.info()), scene)
    assert "Traceback" not in node.log
