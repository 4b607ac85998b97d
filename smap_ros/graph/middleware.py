"""Settings of the middleware that let large images through, for those who have none of their own.

With Fast DDS's defaults most 1280x720 images are lost between two processes; with our profile
all arrive. Memory settings keep glibc from returning and fetching a frame's memory each time,
which costs more than the rest of the transport.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from smap_ros.paths import config_directory

FAST_DDS = "rmw_fastrtps"


@dataclass(frozen=True)
class FastDds:
    """Where a major version of Fast DDS looks for its settings.

    Attributes:
        variable: names a file of profiles.
        local: a file in the working directory that is read too.
    """

    variable: str
    local: str


# Version 2 takes no notice of version 3's variable. With version 3, rmw_fastrtps of Kilted takes
# version 2's as well, but each process warns of it.
FAST_DDS_2 = FastDds("FASTRTPS_DEFAULT_PROFILES_FILE", "DEFAULT_FASTRTPS_PROFILES.xml")
FAST_DDS_3 = FastDds("FASTDDS_DEFAULT_PROFILES_FILE", "DEFAULT_FASTDDS_PROFILES.xml")
_DISTROS = {"humble": FAST_DDS_2, "iron": FAST_DDS_2, "jazzy": FAST_DDS_2}  # later ones: version 3
_BUILTIN_TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"  # of both

_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "1073741824"}


def middleware_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to add to the environment of the nodes.

    Args:
        environment: the variables there are; what they settle is left alone.
    """
    added = {name: value for name, value in _MEMORY.items() if name not in environment}
    return added | _profile(environment)


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that name our profile; none where something else is decided or used."""
    if environment.get("RMW_IMPLEMENTATION", "").partition("_cpp")[0] not in ("", FAST_DDS):
        return {}
    versions = fast_dds(ros_distro(environment))
    # Any of these means that the user has decided how the middleware transports. Version 3 takes
    # the older variable too.
    variables = {_BUILTIN_TRANSPORTS, FAST_DDS_2.variable, *(one.variable for one in versions)}
    if any(environment.get(name) for name in variables):
        return {}
    if any(Path(one.local).is_file() for one in versions):
        return {}
    return {one.variable: str(_folder() / "fastdds.xml") for one in versions}


def environment_file() -> Path:
    """What a shell sources to have the same variables, for a driver that others start."""
    return _folder() / "environment.sh"


def lost_images_advice(
    rmw: str, environment: Mapping[str, str], *, remote: bool = False, compressed: bool = False
) -> str:
    """What helps a camera whose images get lost on the way to us.

    Args:
        rmw: the middleware, as ROS names it.
        environment: our process's variables.
        remote: whether the driver is on another machine.
        compressed: whether the images are compressed already.
    """
    smaller = "publish smaller images" if compressed else "publish JPEG and set compressed:=true"
    if remote:
        return f"the driver is on another machine: let it {smaller}"
    if not rmw.startswith(FAST_DDS):
        return (
            f"let the buffers of {rmw} hold several images, in its process and ours, or {smaller}"
        )
    ours_too = _profile(environment)
    processes = "the driver's process and this one" if ours_too else "the driver's process"
    return f"start {processes} after `source {environment_file()}`, or let it {smaller}"


def fast_dds(distro: str) -> tuple[FastDds, ...]:
    """The version of Fast DDS that a ROS distribution has; both if the distribution is unknown."""
    if not distro:
        return FAST_DDS_2, FAST_DDS_3
    return (_DISTROS.get(distro, FAST_DDS_3),)


def ros_distro(environment: Mapping[str, str]) -> str:
    """The ROS distribution in use, like ``jazzy``; empty if nothing tells."""
    return environment.get("ROS_DISTRO", "") or _wheel_distro()


@cache
def _wheel_distro() -> str:
    """Distro of ROS wheels in this environment, from the names of the packages."""
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name.startswith("ros-") and name.endswith("-rclpy") and name.count("-") == 2:
            return name.split("-")[1]
    return ""


def _folder() -> Path:
    return config_directory() / "dds"


def give_back_memory() -> None:
    """Give the system what is free of this process' memory, as far as the C library can.

    With the thresholds of :func:`middleware_environment` it keeps up to 1 GB for the images to
    come, and a model that is released and loaded again finds no room in what is left of it.
    """
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)
