"""The TF that a bag has: where the camera was, and against what that is measured."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.bags.transforms import CameraMotion, read_transforms
from tests.bag_messages import STORE, header, raw_image, write_bag

OPTICAL = (-0.5, 0.5, -0.5, 0.5)
PIXELS = np.zeros((4, 4, 3), np.uint8)


def transform(stamp, parent, child, position, rotation=(0.0, 0.0, 0.0, 1.0)):
    types = STORE.types
    moved = types["geometry_msgs/msg/Transform"](
        translation=types["geometry_msgs/msg/Vector3"](*map(float, position)),
        rotation=types["geometry_msgs/msg/Quaternion"](*map(float, rotation)),
    )
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=header(stamp, parent), child_frame_id=child, transform=moved
    )
    return types["tf2_msgs/msg/TFMessage"](transforms=[stamped])


def robot(parent="odom"):
    """A camera on a robot that drives a metre a second for 30 s."""
    yield "/tf_static", 100.0, transform(100.0, "base_link", "cam", (0.1, 0, 1), OPTICAL)
    for k in range(31):
        yield "/tf", 100.0 + k, transform(100.0 + k, parent, "base_link", (k, 0, 0))
    yield "/image", 130.0, raw_image(130.0, PIXELS)


def bag(path, messages):
    return write_bag(path, ((topic, _At(stamp, message)) for topic, stamp, message in messages))


class _At:
    """A message without a header of its own, recorded at a time."""

    def __init__(self, stamp, message):
        self.header, self._message = header(stamp), message

    def __getattr__(self, name):
        return getattr(self._message, name)


def test_the_cameras_pose_is_known_at_any_time_of_the_recording(tmp_path):
    motion = CameraMotion(read_transforms(bag(tmp_path / "bag", robot())))
    for stamp in (100.0, 104.5, 130.2):
        pose = motion.pose("cam", stamp)
        np.testing.assert_allclose(pose[:3, 3], [min(stamp, 130) - 100 + 0.1, 0, 1], atol=1e-9)
        np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=1e-9)  # it looks ahead
    assert not motion.problem
    assert motion.pose("cam", 99.0) is None and "older than all" in motion.problem


@pytest.mark.parametrize(
    ("parent", "stated", "chosen"),
    [("odom", "", "odom"), ("map", "", "map"), ("rack", "", ""), ("rack", "rack", "rack")],
)
def test_what_stands_still_goes_by_its_name(tmp_path, parent, stated, chosen):
    motion = CameraMotion(read_transforms(bag(tmp_path / "bag", robot(parent))), stated)
    assert motion.fixed_frame("cam") == chosen
    assert (motion.pose("cam", 110.0) is None) == (not chosen)


def test_a_bag_without_tf_tells_nothing(tmp_path):
    path = write_bag(tmp_path / "bag", [("/image", raw_image(1.0, PIXELS))])
    assert CameraMotion(read_transforms(path)).pose("cam", 1.0) is None
