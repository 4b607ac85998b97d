"""Picture files: read upright and checked before they are decoded, written whole.

OpenCV decodes and encodes in memory only: given a name that isn't UTF-8 it crashes.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLEFORMAT, ImageFileDirectory_v2

from smap_ros.errors import InputError
from smap_ros.images import (
    check_complete,
    check_image,
    check_picture_size,
    eight_bits,
    encode_compressed,
)

LOG = logging.getLogger(__name__)

Image = NDArray[np.uint8]

# Containers whose tiles nothing installed here puts together: FFmpeg would give one of them.
HEIF_SUFFIXES = (".heic", ".heif")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_ORIENTATION = 0x0112  # EXIF
_SAMPLE_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}  # of TIFF


@dataclass(frozen=True)
class _Header:
    """What a file says before it is decoded."""

    kind: str
    width: int
    height: int
    orientation: int
    pictures: int


def printable(name: str) -> str:
    """A file name as text: bytes that aren't UTF-8 are taken for Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("latin-1")
    return name


def read_picture(path: Path) -> Image:
    """A picture file as uint8 [H, W, 3] bgr, turned upright as its EXIF says.

    Of several pictures in the file the first is taken. Samples of 16 bits are brought to 8, see
    :func:`smap_ros.images.eight_bits`.

    Raises:
        InputError: if the file is unreadable, isn't a picture, is cut off, or is so large that it
            must be a mistake or an attack; nothing is decoded then.
    """
    name = printable(str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {name}: {error.strerror or error}") from error
    header = _header(data, name)
    check_picture_size(header.height, header.width, len(data), name)
    _check_whole(data, header, name)
    if header.pictures > 1 and header.kind != "MPO":  # the others of an MPO are its depth
        LOG.warning("%s holds %d pictures; the first is taken", name, header.pictures)
    image = _decode(data, name)
    # OpenCV turns TIFFs, and only those, whatever it is told.
    return image if header.kind == "TIFF" else _upright(image, header.orientation)


def write_picture(path: Path, image: Image, quality: int = 92) -> None:
    """Write uint8 [H, W, 3] bgr as JPEG or PNG, by the suffix; whole, or not at all.

    Raises:
        InputError: if the file can't be written.
    """
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else path.suffix.lower()[1:]
    write_whole(path, encode_compressed(image, kind, quality))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is whole.

    Raises:
        InputError: if it can't be written: the disk is full, or may not be written to.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"can't write {printable(str(path))}: {error.strerror or error}"
        ) from error


def _header(data: bytes, name: str) -> _Header:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise InputError(
            f"{name} is a HEIF picture (HEIC), which isn't read; convert it to JPEG first, for "
            "example with heif-convert, or let the phone take JPEG"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked by us
            with PillowImage.open(io.BytesIO(data)) as picture:
                return _Header(
                    kind=picture.format or "",
                    width=picture.width,
                    height=picture.height,
                    orientation=int(picture.getexif().get(_ORIENTATION, 1) or 1),
                    pictures=int(getattr(picture, "n_frames", 1)),
                )
    except PillowImage.DecompressionBombError as error:
        raise InputError(f"{name} is far too large to be decoded: {error}") from error
    except UnidentifiedImageError as error:
        if samples := _tiff_samples(data):
            raise InputError(
                f"{name} is a TIFF of {samples}, which isn't read; expected a photo of 8 or 16 "
                "bits (unsigned), grey or coloured, not measurements: convert it"
            ) from error
        raise InputError(
            f"{name} ({len(data)} bytes) isn't an image that can be read; expected jpg, jp2, png, "
            "bmp, webp, tiff, avif, gif, ppm or pgm"
        ) from error
    except Exception as error:  # Pillow's readers fail in many ways on damaged files
        raise InputError(f"{name} ({len(data)} bytes) is damaged: {error}") from error


def _tiff_samples(data: bytes) -> str:
    """What a pixel of a TIFF holds, for people; empty where it is none, or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is missing is told by us
            tags = ImageFileDirectory_v2(data[:8])
            file = io.BytesIO(data)
            file.seek(tags.next)
            tags.load(file)
        bits = tags[BITSPERSAMPLE]
        kind = _SAMPLE_FORMATS.get(tags.get(SAMPLEFORMAT, (1,))[0], "")
    except Exception:  # see above
        return ""
    widths = " and ".join(str(width) for width in sorted(set(bits)))
    return f"{len(bits)} {kind}sample{'s' * (len(bits) > 1)} of {widths} bits a pixel"


def _check_whole(data: bytes, header: _Header, name: str) -> None:
    """OpenCV fills what is missing with grey and says nothing to its caller."""
    if header.kind in ("JPEG", "MPO", "PNG"):
        try:
            check_complete(data)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(data)) as picture:
                picture.load()
    except Exception as error:  # see above
        raise InputError(f"{name} is cut off or damaged: {error}") from error


def _decode(data: bytes, name: str) -> Image:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"{name} can't be decoded: {error.err or error}") from error
    if decoded is None:
        samples = _tiff_samples(data)
        kind = f": a TIFF of {samples}; expected 8 or 16 bits (unsigned), convert it"
        raise InputError(
            f"{name} is damaged, or of a kind that OpenCV doesn't decode here"
            + (kind if samples else "")
        )
    if decoded.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{name} has {decoded.dtype} samples; expected a photo of 8 or 16 bits, not "
            "measurements"
        )
    image = eight_bits(decoded) if decoded.dtype == np.uint16 else decoded
    check_image(image)
    return image.astype(np.uint8, copy=False)


def _upright(image: Image, orientation: int) -> Image:
    """Turn and mirror as one of EXIF's eight orientations says."""
    if not 2 <= orientation <= 8:
        return image
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    rows = orientation in (3, 4, 7, 8)
    columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(image[:: -1 if rows else 1, :: -1 if columns else 1])
