"""How a video is to be shown: turned and mirrored as its display matrix says."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_BYTES = 36  # nine int32, of which the first, second, fourth and fifth turn and mirror
_SKEW = 0.02  # of the longer part; files round angles to 1/65536
# Kinds of side data that FFmpeg may have and PyAV has no name for: EXIF is 31 as of FFmpeg 8.
_NAMED: set[object] = {kind.value for kind in Type}
_UNNAMED = [kind for kind in range(48) if kind not in _NAMED]


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
        raw = _matrix(frame)
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


def _matrix(frame: VideoFrame) -> bytes:
    """The display matrix as FFmpeg keeps it, empty where a frame has none."""
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX.name)
    except ValueError:  # PyAV gives nothing if there is one kind that it has no name for
        data = _without_unnamed(frame).side_data.get(Type.DISPLAYMATRIX.name)
    return bytes(data) if isinstance(data, SideData) else b""


def _without_unnamed(frame: VideoFrame) -> VideoFrame:
    """The same picture, not copied, without the side data that PyAV has no name for."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
    )
    kept = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in _UNNAMED]
    graph.link_nodes(source, *kept, graph.add("buffersink")).configure()
    graph.push(frame)
    named = graph.pull()
    assert isinstance(named, VideoFrame)
    return named
