"""Pictures of records, read from files of their own or from inside of a shard."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_train.engine.sampling import BadRecordError


def read_picture(
    path: Path, size: tuple[int, int] | None, place: str, offset: int = 0, length: int = 0
) -> NDArray[np.uint8]:
    """A record's picture, uint8 [H, W, 3] bgr.

    Args:
        path: the picture, or the file that it lies in.
        size: width and height that the record states, if it does.
        place: file and number of the record, for messages.
        offset, length: bytes of the picture in its file; length 0 means the whole file.

    Raises:
        BadRecordError: if it is missing, damaged, or of another size than stated.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length or -1)
    except OSError as error:
        raise BadRecordError(
            f"{place}: img_paths: can't read {path}: {error.strerror or error}"
        ) from error
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise BadRecordError(f"{place}: img_paths: {path} is no picture, or it is damaged")
    if size is not None and image.shape[1::-1] != size:
        raise BadRecordError(
            f"{place}: img_width, img_height: {size[0]}x{size[1]}, but {path} has "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    return image.astype(np.uint8, copy=False)
