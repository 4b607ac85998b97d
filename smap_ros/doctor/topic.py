"""What comes of a camera's topic, what is wrong with it, and what helps."""

from __future__ import annotations

import json
import os
import re
import subprocess

from smap_ros.doctor.machine import Check, Section
from smap_ros.errors import InputError
from smap_ros.graph.middleware import middleware_environment
from smap_ros.paths import python_of

PATIENCE = 60.0  # seconds beside the listening: Python, discovery


def listen(topic: str, duration: float, info_topic: str = "") -> Section:
    """Listen to a topic as our nodes do.

    Args:
        topic: of the images, raw or compressed.
        duration: seconds.
        info_topic: of the calibration; empty: ``camera_info`` beside the images.

    Raises:
        InputError: if ROS isn't there, or refuses the name.
    """
    # In a process of its own: importing ROS may replace the process, or bring it down.
    command = [*python_of("smap_ros.nodes.topic_check"), topic, str(duration)]
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    try:
        done = subprocess.run(
            [*command, info_topic],
            capture_output=True,
            text=True,
            timeout=duration + PATIENCE,
            env={**environment, **middleware_environment(environment)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"listening to {topic} took over {PATIENCE:g} s more than it should; is ROS all right? "
            "`smap-ros doctor` says"
        ) from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        # Without Python's name of the error and the line of ROS's source.
        reason = re.sub(r"^[\w.]+(Error|Exception): |, at /\S+:\d+$", "", reason)
        raise InputError(
            f"can't listen to {topic}: {reason}. `smap-ros doctor` says what ROS lacks"
        )
    checks = tuple(Check(**fields) for fields in json.loads(lines[-1]))
    return Section(topic, checks, bad="wrong")


def problems(section: Section) -> list[Check]:
    """The findings that keep people from being found, or most of them."""
    return [check for check in section.checks if not (check.ok or check.optional)]
