"""Whether the stamps of images and a node's clock fit; no ROS in the rules."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time
from rclpy.node import Node

from smap_ros import stamps
from smap_ros.nodes.conversions import seconds

# A stamp before is no time of day: simulations and some drivers count from their start.
EPOCH_YEARS = 1e9  # seconds; 2001
DAY = 86400.0  # seconds
NO_CLOCK = (
    "use_sim_time is on, but nothing comes on /clock: start what publishes it (the simulation, "
    "ros2 bag play --clock), or set use_sim_time:=false"
)


def simulated(node: Node) -> bool:
    """Whether a node takes its time from ``/clock``."""
    return bool(node.get_parameter("use_sim_time").value)


def now(node: Node) -> float:
    """A node's time in seconds."""
    return float(node.get_clock().now().nanoseconds) * 1e-9


def latency_ms(node: Node, stamp: Time) -> float:
    """Milliseconds since a stamp; NaN where stamp and clock don't belong together."""
    return stamps.latency_ms(seconds(stamp), now(node))


def clock_trouble(stamp: float, clock: float, simulated: bool, wall: float | None = None) -> str:
    """What is wrong with the stamp of an image that has just arrived; empty if nothing is.

    Args:
        stamp: of the image, seconds.
        clock: the node's time, seconds.
        simulated: whether that is from ``/clock``.
        wall: the wall clock, seconds; None: that of this machine.
    """
    wall = time.time() if wall is None else wall
    age = clock - stamp
    if simulated and clock == 0:
        return NO_CLOCK
    if stamp == 0:
        return "images have no stamp (0), so nobody knows when they were taken; mend the driver"
    if stamps.belong_together(age):
        return ""
    if simulated and abs(stamp - wall) < DAY < abs(age):
        return (
            f"images are stamped by the wall clock, but use_sim_time is on and /clock says "
            f"{clock:.1f} s: let the driver use /clock as well, or set use_sim_time:=false"
        )
    if not simulated and stamp < EPOCH_YEARS:
        return (
            f"images are stamped {stamp:.1f} s, by the clock of a simulation or of the driver, but "
            "this node goes by the wall clock: set use_sim_time:=true, or mend the driver (or the "
            "camera node plays a video with stamps:=recorded, which gives no latency)"
        )
    name = "/clock" if simulated else "this machine's clock"
    if age < 0:
        return (
            f"images are stamped {_span(-age)} ahead of {name}: the clocks differ; synchronise the "
            "driver's machine and this one (chrony)"
        )
    return (
        f"images are stamped {_span(age)} behind {name}: a recording plays with its own stamps, "
        "which gives no latency and harms nothing else (for one, ros2 bag play --clock and "
        "use_sim_time:=true, or the camera node with stamps:=shown), or the clocks of two machines "
        "differ (chrony)"
    )


def _span(duration: float) -> str:
    for unit, name in ((DAY, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if duration >= 2 * unit:
            return f"{duration / unit:.1f} {name}"
    return f"{duration:.1f} s"
