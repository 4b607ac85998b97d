"""The encodings of raw ROS images: what a row holds, and how it becomes bgr.

Names are those of ``sensor_msgs/image_encodings``, and what drivers write beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from smap_ros.errors import InputError


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an image lie in its data.

    Attributes:
        samples: per pixel in a row.
        conversion: OpenCV's, to bgr; None where it is bgr already.
        bits: of a sample, 8 or 16.
        multiple: width and height are multiples of these.
        least: width and height are at least these.
        colour_rows: rows of colour that follow the rows of brightness, for each of them.
    """

    samples: int
    conversion: int | None
    bits: int = 8
    multiple: tuple[int, int] = (1, 1)
    least: tuple[int, int] = (1, 1)
    colour_rows: float = 0.0

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in a row."""
        return self.samples * self.bits // 8


def _both_depths(name: str, samples: int, conversion: int | None) -> dict[str, Encoding]:
    """An encoding of 8 bits and its twin of 16."""
    return {f"{name}{bits}": Encoding(samples, conversion, bits) for bits in (8, 16)}


def _bayer(pattern: str, conversion: int) -> dict[str, Encoding]:
    """A mosaic of colours, named by the first two pixels of its first two rows."""
    return {
        f"bayer_{pattern}{bits}": Encoding(1, conversion, bits, least=(3, 3)) for bits in (8, 16)
    }


_UYVY = Encoding(2, cv2.COLOR_YUV2BGR_UYVY, multiple=(2, 1))
_YUYV = Encoding(2, cv2.COLOR_YUV2BGR_YUY2, multiple=(2, 1))

ENCODINGS: dict[str, Encoding] = {
    **_both_depths("bgr", 3, None),
    **_both_depths("rgb", 3, cv2.COLOR_RGB2BGR),
    **_both_depths("bgra", 4, cv2.COLOR_BGRA2BGR),
    **_both_depths("rgba", 4, cv2.COLOR_RGBA2BGR),
    **_both_depths("mono", 1, cv2.COLOR_GRAY2BGR),
    "8UC1": Encoding(1, cv2.COLOR_GRAY2BGR),
    "8UC3": Encoding(3, None),
    "8UC4": Encoding(4, cv2.COLOR_BGRA2BGR),
    "16UC1": Encoding(1, cv2.COLOR_GRAY2BGR, 16),
    "16UC3": Encoding(3, None, 16),
    "16UC4": Encoding(4, cv2.COLOR_BGRA2BGR, 16),
    # OpenCV names a mosaic by the second and third pixel of its second row.
    **_bayer("rggb", cv2.COLOR_BayerBG2BGR),
    **_bayer("bggr", cv2.COLOR_BayerRG2BGR),
    **_bayer("gbrg", cv2.COLOR_BayerGR2BGR),
    **_bayer("grbg", cv2.COLOR_BayerGB2BGR),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": Encoding(1, cv2.COLOR_YUV2BGR_NV12, multiple=(2, 2), colour_rows=0.5),
    "nv21": Encoding(1, cv2.COLOR_YUV2BGR_NV21, multiple=(2, 2), colour_rows=0.5),
}

# Numbers that are no brightness: what they are.
_NO_PICTURES = {
    "32FC1": "distances in metres, a depth image",
    "64FC1": "distances in metres, a depth image",
    "16SC1": "signed numbers, like disparities",
    "32SC1": "signed numbers, like labels",
    "8SC1": "signed numbers",
}


def encoding_of(name: str, height: int, width: int) -> Encoding:
    """The encoding of a name, for an image of that size.

    Raises:
        InputError: if it is unknown or holds no picture, or an image of it can't have that size.
    """
    if name in _NO_PICTURES:
        raise InputError(
            f"image encoding {name!r} is {_NO_PICTURES[name]}, and no picture that people could be "
            "found in; take the topic of the colour or infra-red images of that camera"
        )
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise InputError(
            f"image encoding {name!r} is not supported; expected one of "
            f"{', '.join(ENCODINGS)}. Convert it first, for example with image_proc"
        )
    size, sides = (width, height), ("width", "height")
    for side, got, multiple, least in zip(
        sides, size, encoding.multiple, encoding.least, strict=True
    ):
        if got % multiple:
            raise InputError(
                f"{name} image is {width}x{height} px; expected an even {side}, because two "
                "pixels share their colour"
            )
        if got < least:
            raise InputError(
                f"{name} image is {width}x{height} px; expected a {side} of {least} or more, "
                "because a pixel has the colours of its neighbours"
            )
    return encoding
