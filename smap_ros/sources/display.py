"""How a video is to be shown: turned and mirrored as its display matrix says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_BYTES = 36  # nine int32, of which the first, second, fourth and fifth turn and mirror
_SKEW = 0.02  # of the longer part; files round angles to 1/65536


@dataclass(frozen=True)
class Display:
    """Rows and columns exchanged first, then each reversed; nothing for most files.

    Attributes:
        transposed: columns become rows.
        left_right: the columns are reversed.
        up_down: the rows are reversed.
        exact: whether that is all the file asks for; else it also turns by part of a right angle
            or shears, which would blur the picture and is left out.
    """

    transposed: bool = False
    left_right: bool = False
    up_down: bool = False
    exact: bool = True

    @classmethod
    def of(cls, frame: VideoFrame) -> Display:
        """What the file says of a frame."""
        data = frame.side_data.get(Type.DISPLAYMATRIX.name)
        raw = bytes(data) if isinstance(data, SideData) else b""
        if len(raw) != _BYTES:
            return cls()
        matrix = np.frombuffer(raw, np.int32).astype(float)
        # FFmpeg's libavutil/display.h: x' = a x + c y, y' = b x + d y, with y down.
        a, b, c, d = matrix[[0, 1, 3, 4]]
        if abs(a) + abs(d) >= abs(b) + abs(c):
            kept, rest, transposed = (a, d), (b, c), False
        else:
            kept, rest, transposed = (c, b), (a, d), True
        exact = max(map(abs, rest)) <= _SKEW * max(map(abs, kept))
        return cls(transposed, kept[0] < 0, kept[1] < 0, exact)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown."""
        return (height, width) if self.transposed else (width, height)

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image as shown, uint8 [H, W, 3] -> uint8 [H', W', 3]."""
        if not (self.transposed or self.left_right or self.up_down):
            return image
        image = image.swapaxes(0, 1) if self.transposed else image
        image = image[:, ::-1] if self.left_right else image
        return np.ascontiguousarray(image[::-1] if self.up_down else image)
