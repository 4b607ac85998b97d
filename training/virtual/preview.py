"""Contact sheets: pictures with skeletons drawn, left blue, right red, middle green."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.pictures import write_picture
from smap_ros.skeletons import MPI15

SIDE_COLOURS = {"left": (60, 110, 255), "right": (255, 60, 60), "middle": (60, 230, 60)}  # RGB


def drawn(rgb: NDArray[np.uint8], truth: dict[str, Any], zoom: int = 2) -> NDArray[np.uint8]:
    """The picture ``zoom`` times as large with boxes, skeletons, and rings on hidden joints."""
    image = cv2.resize(rgb, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    for person in truth["people"]:
        points = [
            tuple(int(round((v + 0.5) * zoom - 0.5)) for v in uv) for uv in person["joints_2d"]
        ]
        x, y, w, h = (int(v * zoom) for v in person["box"])
        cv2.rectangle(image, (x, y), (x + w, y + h), (255, 220, 80), 1)
        for a, b in MPI15.limbs:
            cv2.line(image, points[a], points[b], SIDE_COLOURS[MPI15.side(b)], 1, cv2.LINE_AA)
        for k, point in enumerate(points):
            hidden = person["visibility"][k] == 1
            cv2.circle(
                image, point, 3, SIDE_COLOURS[MPI15.side(k)], 1 if hidden else -1, cv2.LINE_AA
            )
    return image


def write_sheet(pictures: list[NDArray[np.uint8]], path: Path, columns: int = 4) -> None:
    """Write equally large RGB pictures in rows.

    Raises:
        InputError: if the file can't be written.
    """
    blank = np.zeros_like(pictures[0])
    filled = pictures + [blank] * (-len(pictures) % columns)
    rows = [np.hstack(filled[k : k + columns]) for k in range(0, len(filled), columns)]
    write_picture(path, np.ascontiguousarray(np.vstack(rows)[..., ::-1]))
