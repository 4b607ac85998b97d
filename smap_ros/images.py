"""ROS image encodings to and from bgr numpy arrays, without ROS and without cv_bridge.

Works on the fields of ``sensor_msgs/Image`` and ``sensor_msgs/CompressedImage``. Rows may be
padded (``step`` larger than a row of pixels) and 16-bit samples may be big-endian.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.encodings import ENCODINGS, encoding_of
from smap_ros.errors import InputError

Image = NDArray[np.uint8]

# An image above this is a broken header or a decompression bomb, not a robot's camera.
MAX_PIXELS = 100_000_000

# A large picture that takes less than a byte per so many pixels is one colour: a bomb.
_BOMB_PIXELS, _PIXELS_PER_BYTE = 16_000_000, 100

_DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras have
_REMEMBERED = 300  # images
_HOT = 10_000  # one sample of so many may be brighter, as hot pixels are

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"


def decode_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: Any,
    depth: BitDepth | None = None,
) -> Image:
    """A raw ROS image as a bgr array.

    ``bgr8`` without row padding is returned as a view of ``data`` (possibly read-only);
    everything else is a fresh array. Samples of 16 bits are brought to 8, see :func:`eight_bits`.

    Args:
        encoding: one of :data:`smap_ros.encodings.ENCODINGS`.
        height, width: pixels.
        step: bytes per row.
        is_bigendian: byte order of 16-bit samples.
        data: the bytes: bytes, array.array, memoryview or uint8 array.
        depth: of the stream that the image is of.

    Returns:
        uint8 [height, width, 3], bgr.

    Raises:
        InputError: if the encoding is unknown or holds no picture, the size is empty, absurd or
            none of the encoding's, or ``data`` is shorter than the header says.
    """
    check_size(height, width)
    layout = encoding_of(encoding, height, width)
    rows = height + int(height * layout.colour_rows)
    name = f"{encoding} image of {width}x{height} px"
    samples: NDArray[Any] = _rows(name, rows, width * layout.pixel_bytes, step, data)
    if layout.bits == 16:
        samples = eight_bits(samples.view(">u2" if is_bigendian else "<u2"), depth)
    pixels = samples.reshape(rows, width, layout.samples) if layout.samples > 1 else samples
    return pixels if layout.conversion is None else _converted(pixels, layout.conversion)


def decode_compressed(data: Any, declared: str = "", depth: BitDepth | None = None) -> Image:
    """A ``sensor_msgs/CompressedImage`` as a bgr array.

    The kind is taken from the data itself, because drivers fill ``declared`` (the message's
    ``format``) in many ways. It is quoted in errors, and of a picture with one channel it says
    whether that is a mosaic of colours, as image_transport sends those of Bayer cameras.

    Args:
        data: JPEG or PNG file contents: bytes, array.array, memoryview or uint8 array.
        declared: the message's ``format`` field.
        depth: of the stream that the image is of.

    Returns:
        uint8 [H, W, 3], bgr.

    Raises:
        InputError: if the data is neither, is truncated or damaged, or the size in its header
            is empty or absurd (checked before anything is decompressed).
    """
    raw = bytes(_flat(data))
    if not raw.startswith((_PNG, _JPEG)):
        raise InputError(
            f"compressed image (format {declared!r}, {len(raw)} bytes) is neither jpeg nor png; "
            f"it starts with {raw[:4].hex(' ') or 'nothing'}"
        )
    kind, height, width = check_complete(raw)
    encoding = declared.partition(";")[0].strip()
    mosaic = encoding.startswith("bayer_") and encoding in ENCODINGS
    channels = cv2.IMREAD_ANYCOLOR if mosaic else cv2.IMREAD_COLOR
    # The camera's calibration is for the pixels as they are stored: EXIF turns nothing here.
    flags = channels | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(raw, np.uint8), flags)
    if image is None:
        raise InputError(
            f"compressed image ({width}x{height} px {kind}, {len(raw)} bytes) is damaged"
        )
    wide = image.dtype == np.uint16
    pixels = eight_bits(image, depth) if wide else image.astype(np.uint8, copy=False)
    conversion = encoding_of(encoding, height, width).conversion if pixels.ndim == 2 else None
    return pixels if conversion is None else _converted(pixels, conversion)


def check_complete(raw: bytes) -> tuple[str, int, int]:
    """Look at the header and the end of a JPEG or PNG file, without decompressing anything.

    Returns:
        Kind, height and width.

    Raises:
        InputError: if it is truncated or damaged, or its size is empty or absurd.
    """
    if raw.startswith(_PNG):
        kind, (height, width), complete = "png", _png_size(raw), raw.rfind(b"IEND") > 0
    else:
        kind = "jpeg"
        height, width, scan = _jpeg_size(raw)
        complete = raw.rfind(b"\xff\xd9") > scan
    check_picture_size(height, width, len(raw), f"{kind} image")
    # OpenCV fills what is missing with grey and says nothing to its caller.
    if not complete:
        raise InputError(
            f"compressed image is truncated: {width}x{height} px {kind} of {len(raw)} bytes has "
            "no end marker; expected the whole file"
        )
    return kind, height, width


def check_picture_size(height: int, width: int, size: int, name: str) -> None:
    """Refuse a compressed picture that would fill the memory, by its header.

    Args:
        height, width: pixels.
        size: of the file in bytes.
        name: for the error.

    Raises:
        InputError: if there are no pixels, over :data:`MAX_PIXELS`, or far more than so small a
            file can describe.
    """
    check_size(height, width)
    pixels = height * width
    if pixels > _BOMB_PIXELS and size * _PIXELS_PER_BYTE < pixels:
        raise InputError(
            f"{name} is {width}x{height} px in {size} bytes: {pixels / 1e6:.0f} megapixels of next "
            "to nothing, which is no photo but a decompression bomb. Scale it down first"
        )


class BitDepth:
    """How many bits of 16 the samples of a stream make use of.

    One image in the dark uses fewer than its camera has, and would be shown four times as bright
    as the next one: it is as many as two of the last images did. One alone, which may be damaged,
    changes nothing for the others. Not thread-safe.
    """

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=_REMEMBERED)

    def of(self, samples: NDArray[Any]) -> int:
        """The bits in use, 8 to 16, of an image [...] of uint16 and of those before it."""
        used = int(np.bitwise_or.reduce(samples, axis=None)) if samples.size else 0
        if used & 0xFF:  # else it is black, or of 8 bits in the upper byte, or flat
            few = samples.size // _HOT
            own = (n for n in _DEPTHS[:-1] if np.count_nonzero(samples >= 1 << n) <= few)
            self._latest.append(next(own, _DEPTHS[-1]))
        return sorted(self._latest)[-2:][0] if self._latest else _DEPTHS[-1]


def eight_bits(samples: NDArray[Any], depth: BitDepth | None = None) -> Image:
    """Samples of 16 bits brought to 8, by the bits that the image makes use of.

    Cameras of 10, 12 or 14 bits leave the upper bits of each sample empty: taking the upper
    byte would make their pictures black. Where the lower byte is empty, or all 16 bits are in
    use, it is the upper byte. What is brighter than that is white.

    Args:
        samples: uint16 of any shape and byte order.
        depth: of the stream that the image is of; without one the image alone decides.

    Returns:
        uint8 of the same shape.
    """
    shift = (depth or BitDepth()).of(samples) - 8
    bright: Image = np.minimum(samples >> shift, 255).astype(np.uint8)
    return bright


def encode_compressed(image: Image, kind: str = "jpeg", quality: int = 90) -> bytes:
    """A bgr image as the contents of a JPEG or PNG file.

    Args:
        image: uint8 [H, W, 3], bgr.
        kind: ``jpeg`` or ``png``.
        quality: JPEG quality in [1, 100].

    Raises:
        InputError: if the image is malformed or the kind unknown.
    """
    check_image(image)
    if kind not in ("jpeg", "png"):
        raise InputError(f"can't compress an image as {kind!r}; expected jpeg or png")
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else []
    done, data = cv2.imencode(f".{kind}", image, flags)
    if not done:
        raise InputError(f"OpenCV could not write a {image.shape} image as {kind}")
    return bytes(data.tobytes())


def check_image(image: Any) -> None:
    """Refuse what isn't a bgr image.

    Raises:
        InputError: unless it is uint8 [H, W, 3] with 0 < H * W <= :data:`MAX_PIXELS`.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        got = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", ())
        raise InputError(f"image is {got[0]} {got[1]}; expected uint8 [height, width, 3] in bgr")
    if image.shape[2] != 3:
        raise InputError(f"image has {image.shape[2]} channels; expected 3 (bgr)")
    check_size(*image.shape[:2])


def check_size(height: int, width: int) -> None:
    """Refuse an image without pixels, and one of more than :data:`MAX_PIXELS`.

    Raises:
        InputError: saying which size is expected.
    """
    if height <= 0 or width <= 0:
        raise InputError(f"image is {width}x{height} px; expected at least 1x1")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"image is {width}x{height} px; expected at most {MAX_PIXELS // 1_000_000} megapixels. "
            "Scale it down before it is sent"
        )


def _flat(data: Any) -> Image:
    """The buffer as uint8 [n], without copying."""
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise InputError(
            f"image data is {type(data).__name__}; expected bytes, array or uint8 array ({error})"
        ) from error


def _rows(name: str, rows: int, row: int, step: int, data: Any) -> Image:
    """The rows of an image without their padding.

    Args:
        name: of the image, for errors.
        rows: how many there are.
        row: bytes of a row.
        step: from one row to the next.
        data: all bytes.

    Returns:
        uint8 [rows, row], contiguous.
    """
    if step < row:
        raise InputError(f"{name} has step {step}; expected at least {row} bytes per row")
    flat = _flat(data) if len(data) else np.zeros(0, np.uint8)
    # The last row's padding may be left away.
    needed = step * (rows - 1) + row
    if flat.size < needed:
        raise InputError(
            f"{name} with step {step} has {flat.size} bytes; "
            f"expected {step * rows}: the message is truncated"
        )
    strided = np.lib.stride_tricks.as_strided(
        flat, shape=(rows, row), strides=(step, 1), writeable=False
    )
    return np.ascontiguousarray(strided)


def _converted(pixels: Image, code: int) -> Image:
    return cv2.cvtColor(pixels, code).astype(np.uint8, copy=False)


def _png_size(raw: bytes) -> tuple[int, int]:
    """Height and width from the header of a PNG."""
    if len(raw) < 24 or raw[12:16] != b"IHDR":
        raise InputError(f"compressed image is truncated: a png of {len(raw)} bytes has no header")
    return int.from_bytes(raw[20:24], "big"), int.from_bytes(raw[16:20], "big")


def _jpeg_size(raw: bytes) -> tuple[int, int, int]:
    """Height, width and the offset of the first scan of a JPEG."""
    size: tuple[int, int] | None = None
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        # Start of frame: C0..CF but for the tables C4, C8, CC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = (
                int.from_bytes(raw[at + 5 : at + 7], "big"),
                int.from_bytes(raw[at + 7 : at + 9], "big"),
            )
        if marker == 0xDA and size:
            return *size, at
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    raise InputError(
        f"compressed image is truncated or damaged: a jpeg of {len(raw)} bytes has no picture "
        "after its header"
    )
