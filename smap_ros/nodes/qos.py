"""Quality of service of our topics, in one place."""

from __future__ import annotations

from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_profile_sensor_data,
)

from smap_ros.nodes.parameters import NodeParameters

# Images and calibration: the newest matters, none is worth waiting for.
SENSOR: QoSProfile = qos_profile_sensor_data


def images(settings: NodeParameters) -> QoSProfile:
    """Of images, as ``image_reliability`` and ``image_depth`` of a node say."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=settings.whole("image_depth"),
        reliability=QoSReliabilityPolicy[settings.text("image_reliability").upper()],
        durability=QoSDurabilityPolicy.VOLATILE,
    )


# Bodies, poses, markers: small, and each one counts.
RELIABLE = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

# What is said once, and still has to reach those who come later.
LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)

# As tf2 has them: what is said once on /tf_static reaches those who come later.
TF = QoSProfile(depth=100)
TF_STATIC = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
