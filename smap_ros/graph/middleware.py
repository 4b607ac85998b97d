"""Settings of the middleware that let large images through, for those who have none of their own.

With Fast DDS's defaults most 1280x720 images are lost between two processes; with our profile
all arrive. Memory settings keep glibc from returning and fetching a frame's memory each time,
which costs more than the rest of the transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smap_ros.paths import config_directory

FAST_DDS = "rmw_fastrtps"

# Any of these means that the user has decided how the middleware transports.
_TRANSPORT_VARIABLES = (
    "FASTRTPS_DEFAULT_PROFILES_FILE",  # Fast DDS 2 (Humble, Jazzy)
    "FASTDDS_DEFAULT_PROFILES_FILE",  # Fast DDS 3 (Kilted and later)
    "FASTDDS_BUILTIN_TRANSPORTS",
)
# Fast DDS also reads this file from the working directory.
_LOCAL_PROFILE = "DEFAULT_FASTRTPS_PROFILES.xml"
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "1073741824"}


def middleware_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables to add to the environment of the nodes.

    Args:
        environment: the variables there are; what they settle is left alone.
    """
    added = {name: value for name, value in _MEMORY.items() if name not in environment}
    decided = any(environment.get(name) for name in _TRANSPORT_VARIABLES)
    other = environment.get("RMW_IMPLEMENTATION", "").partition("_cpp")[0] not in (
        "",
        FAST_DDS,
    )
    if not (decided or other or Path(_LOCAL_PROFILE).is_file()):
        profile = str(_folder() / "fastdds.xml")
        added |= dict.fromkeys(_TRANSPORT_VARIABLES[:2], profile)
    return added


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
    if "FASTRTPS_DEFAULT_PROFILES_FILE" in middleware_environment(environment):
        processes = "the driver's process and this one"
    else:
        processes = "the driver's process"
    return f"start {processes} after `source {environment_file()}`, or let it {smaller}"


def _folder() -> Path:
    return config_directory() / "dds"
