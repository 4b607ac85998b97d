"""Whether images were rectified: then their pixels belong to CameraInfo.P, and no lens is left."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smap_ros.calibration.calibration import Calibration
from smap_ros.errors import InputError

RECTIFIED = ("auto", "yes", "no")
RECTIFIED_INFO = "camera_info_rect"

# `rect` as a word of a topic's name, as in image_rect_color, rect/image and image_rectified.
_WORDS = frozenset({"rect", "rectified", "rectify"})


@dataclass(frozen=True)
class Rectification:
    """What was decided.

    Attributes:
        rectified: whether the images are.
        reason: why, for people.
    """

    rectified: bool
    reason: str

    def describe(self, calibration: Calibration) -> str:
        """What it means for a calibration, in one line."""
        if not calibration.projects_otherwise:
            return f"P is K and there is no lens, so raw or rectified is the same ({self.reason})"
        if self.rectified:
            return f"rectified images, so P without distortion ({self.reason})"
        return f"raw images, so K with its distortion ({self.reason})"


def named_rectified(topic: str) -> bool:
    """Whether a topic's name says that its images were rectified."""
    return not _WORDS.isdisjoint(re.split(r"[/_]", topic.lower()))


def rectification(stated: str, image_topic: str = "", info_topic: str = "") -> Rectification:
    """Whether the images of a topic are rectified.

    Args:
        stated: ``yes``, ``no``, or ``auto``: by the names of the topics.
        image_topic: name; empty for images of files.
        info_topic: name of the calibration's topic; empty for calibration files.

    Raises:
        InputError: if ``stated`` is none of them.
    """
    if stated not in RECTIFIED:
        raise InputError(f"rectified is {stated!r}; expected one of {', '.join(RECTIFIED)}")
    if stated != "auto":
        return Rectification(stated == "yes", f"as stated: rectified {stated}")
    if named_rectified(image_topic):
        return Rectification(True, f"the topic is named {image_topic}")
    if info_topic.rpartition("/")[2] == RECTIFIED_INFO:
        return Rectification(True, f"the calibration is that of {info_topic}")
    if image_topic:
        return Rectification(False, f"the topic is named {image_topic}; state rectified otherwise")
    return Rectification(False, "not stated otherwise")
