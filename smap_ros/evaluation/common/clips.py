"""The frames of video files by their number, and whether people are of the same file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.sources import Frame
from smap_ros.sources.video import VideoSource

LOG = logging.getLogger(__name__)

VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")


class Clip:
    """The frames of a film by number; fast when they are asked for in order.

    A damaged one has the same frames each time. It is opened when the first is asked for.

    Args:
        path: of the film.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._frames: Iterator[Frame] = iter(())
        self._last: Frame | None = None

    def image(self, index: int) -> NDArray[np.uint8]:
        """A frame, uint8 [H, W, 3] bgr.

        Args:
            index: its number, from 0.

        Raises:
            InputError: if the file is missing, can't be read, or ends before.
        """
        if self._last is None or self._last.index > index:
            self._frames, self._last = self._open(), None
        while self._last is None or self._last.index < index:
            self._last = next(self._frames, None)
            if self._last is None:
                raise InputError(f"{self.path} ends before frame {index}, which its truth names")
        return self._last.image

    def _open(self) -> Iterator[Frame]:
        if not self.path.is_file():
            raise InputError(f"the pictures {self.path} are missing beside the clip's truth")
        return iter(VideoSource(self.path, repeatable=True))


def warn_of_another_film(frames: Iterable[BodyFrame], clip: str, labels: str) -> None:
    """Say so where people were found in a video of another name: numbers fit any video.

    Args:
        frames: the people, with the sources that they were found in.
        clip: name of the file that is labelled; empty where that is none.
        labels: name of the labels, for people to read.
    """
    videos = {frame.source for frame in frames if frame.source.lower().endswith(VIDEOS)}
    if clip and (others := sorted(videos - {clip})):
        LOG.warning(
            "people were found in %s, and the labels of %s are of %s: are they the same film?",
            ", ".join(others), labels, clip,
        )  # fmt: skip
