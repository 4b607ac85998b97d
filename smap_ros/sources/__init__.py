"""Where images come from: files, folders, videos, cameras and bags, all read the same way."""

from __future__ import annotations

import os
from pathlib import Path

from smap_ros.bags import BAG_SUFFIXES
from smap_ros.errors import InputError
from smap_ros.markup import yaml_value
from smap_ros.paths import user_path
from smap_ros.sources.base import FASTEST, SLOWEST, Frame, Mode, Source, public_name
from smap_ros.sources.files import IMAGE_SUFFIXES, FolderSource, ImageSource

__all__ = [
    "IMAGE_SUFFIXES",
    "FolderSource",
    "Frame",
    "ImageSource",
    "Mode",
    "Source",
    "is_bag",
    "is_camera",
    "open_source",
]

_INPUTS = (
    "an image, a folder of images, a video, a ROS bag, a camera index such as 0, /dev/videoN (or "
    "a link to it) or a URL"
)


def is_bag(path: Path) -> bool:
    """Whether there is a ROS bag, be it one that was cut off before its metadata were written.

    Raises:
        InputError: if it is a folder that can't be read.
    """
    if not path.is_dir():
        return path.suffix.lower() in BAG_SUFFIXES and path.exists()
    try:
        suffixes = {file.suffix.lower() for file in path.iterdir()}
    except OSError as error:
        raise InputError(f"can't read the folder {path}: {error.strerror}") from error
    metadata = path / "metadata.yaml"
    if suffixes.isdisjoint(IMAGE_SUFFIXES):
        return not suffixes.isdisjoint(BAG_SUFFIXES) or metadata.is_file()
    return metadata.is_file() and _of_a_bag(metadata)


def _of_a_bag(metadata: Path) -> bool:
    """Whether it describes a bag: others write a metadata.yaml beside their pictures, too."""
    try:
        stated = yaml_value(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stated, dict) and "rosbag2_bagfile_information" in stated


def is_camera(spec: str) -> bool:
    """Whether a word names a camera: its index, a video device or a link to one, or a URL."""
    return spec.isdecimal() or "://" in spec or os.path.realpath(spec).startswith("/dev/video")


def open_source(
    spec: str | Path,
    *,
    topic: str | None = None,
    rectified: str = "auto",
    fps: float | None = None,
    mode: Mode | None = None,
    patience: float | None = None,
) -> Source:
    """The reader that fits an input as a user names it.

    Args:
        spec: image file, folder of images, video file, ROS bag (folder, ``.mcap``, ``.db3``),
            camera index (``0``), ``/dev/videoN`` or a link to one, or URL (``rtsp://``,
            ``http://``).
        topic: image topic of a bag; None picks one and logs which.
        rectified: whether the images of a bag were rectified: ``auto``, ``yes`` or ``no``.
        fps: images per second of a folder whose images, in order of their names, are a film;
            0.001 to 10000.
        mode: what a V4L2 device is asked for.
        patience: seconds that a live camera may give no image before reading it fails; None
            waits, and opens it again, for ever. A film behind a URL ends after them, or 10.

    Raises:
        InputError: if there is no such input, or it can't be opened.

    Examples:
        >>> from smap_ros.paths import config_directory
        >>> source = open_source(str(config_directory() / "demo" / "clip.mp4"))
        >>> source.count, source.rate, next(iter(source)).image.shape
        (90, 15.0, (432, 768, 3))
    """
    spec = os.fspath(spec)
    if not spec.strip():
        raise InputError(f"the input is empty; expected {_INPUTS}")
    remote = "://" in spec
    path = Path() if remote else user_path(spec)
    if fps is not None and (remote or not path.is_dir()):
        raise InputError(
            f"images per second ({fps:g}) are for folders of images; {public_name(spec)} is none"
        )
    if fps is not None and not SLOWEST <= fps <= FASTEST:
        raise InputError(
            f"images per second are {fps:g}; expected a positive number, from {SLOWEST:g} to "
            f"{FASTEST:g}"
        )
    # Video, camera and bag libraries are imported only when one of these is read.
    if is_camera(spec):
        from smap_ros.sources.device import open_camera

        return open_camera(spec, mode or Mode(), patience)
    if mode is not None and mode.stated:
        raise InputError(f"{mode} is for V4L2 devices; {spec} is none")
    if not path.exists():
        raise InputError(f"input {spec!r} doesn't exist; expected {_INPUTS}")
    if not path.is_file() and not path.is_dir():
        raise InputError(
            f"input {spec!r} is a pipe or a device, no camera; save it as a file first"
        )
    if is_bag(path):
        from smap_ros.sources.bag import BagSource

        return BagSource(path, topic, rectified)
    if topic is not None:
        raise InputError(f"a topic ({topic}) is only for ROS bags; {spec} isn't one")
    if path.is_dir():
        return FolderSource(path, fps)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(path)
    from smap_ros.sources.video import VideoSource

    return VideoSource(path)
