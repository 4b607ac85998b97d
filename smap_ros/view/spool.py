"""Pictures of a recording by number, at once and in any order."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import SmapError

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]

WIDTH = 640  # pixels that are kept of a picture
QUALITY = 80  # of the jpegs


class Spool:
    """Reads pictures once from the front, in a thread, and keeps them small in a temporary file.

    Videos and bags can only be read from the front; somebody who looks jumps to and fro. The
    memory it takes doesn't grow with the recording, the file takes about 30 kB a picture.

    Args:
        pictures: number and picture (uint8 [H, W, 3] bgr), in any order.
    """

    def __init__(self, pictures: Iterator[tuple[int, Image]]) -> None:
        self._file = tempfile.TemporaryFile(prefix="smap_ros_view_")  # noqa: SIM115  see close()
        self._places: dict[int, tuple[int, int]] = {}
        self._stopping = False
        self._thread = threading.Thread(
            target=self._read, args=(pictures,), name="pictures", daemon=True
        )
        self._thread.start()

    def __len__(self) -> int:
        return len(self._places)

    def picture(self, number: int) -> Image | None:
        """A picture, uint8 [H, W, 3] bgr; None if there is none, or it wasn't read yet."""
        place = self._places.get(number)
        if place is None:
            return None
        offset, length = place
        data = np.frombuffer(os.pread(self._file.fileno(), length, offset), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return None if image is None else image.astype(np.uint8, copy=False)

    def finish(self, timeout: float | None = None) -> bool:
        """Wait until all are read; whether they are."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop reading, and remove the file."""
        self._stopping = True
        self._thread.join()
        self._file.close()

    def _read(self, pictures: Iterator[tuple[int, Image]]) -> None:
        end = 0
        try:
            for number, image in pictures:
                if self._stopping:
                    return
                data = _jpeg(image)
                os.pwrite(self._file.fileno(), data, end)
                self._places[number] = (end, len(data))
                end += len(data)
        except (SmapError, OSError) as error:
            log.warning("the other pictures are not shown: %s", error)


def _jpeg(image: Image) -> bytes:
    height, width = image.shape[:2]
    if width > WIDTH:
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()
