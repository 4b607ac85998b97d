"""Pictures of records, read from files of their own or from inside of a shard."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.images import check_complete
from smap_train.engine.sampling import BadRecordError

_CHECKED = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # how JPEG and PNG files begin


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
        image = decoded(path, offset, length)
    except InputError as error:
        raise BadRecordError(f"{place}: img_paths: {error}") from error
    if size is not None and image.shape[1::-1] != size:
        raise BadRecordError(
            f"{place}: img_width, img_height: {size[0]}x{size[1]}, but {path} has "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    return image


def decoded(path: Path, offset: int = 0, length: int = 0) -> NDArray[np.uint8]:
    """A picture, uint8 [H, W, 3] bgr.

    Args:
        path: the picture, or the file that it lies in.
        offset, length: bytes of the picture in its file; length 0 means the whole file.

    Raises:
        InputError: if it is missing, damaged or cut off; the message begins with the path unless
            that can't be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length or -1)
    except (OSError, ValueError) as error:  # ValueError: of a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"can't read {path}: {reason}") from error
    if data.startswith(_CHECKED):
        try:
            check_complete(data)  # OpenCV fills what is missing with grey
        except InputError as error:
            raise InputError(f"{path} is damaged: {error}") from error
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise InputError(f"{path} can't be decoded: {error.err or error}") from error
    if image is None:
        raise InputError(f"{path} is no picture, or it is damaged")
    return np.asarray(image, np.uint8)
