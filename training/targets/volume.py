"""Where joints lie in a cube about the root: what networks with a soft-argmax learn.

Sun et al., ECCV 2018, as 3DMPPE, MobileHumanPose and 3DCrowdNet have it: x and y span the crop, z
the depths from one metre before the root to one behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_train.data.layouts.persons import Float64, Person


def cells(
    person: Person, root: int, size: int, grid: int, half_range_m: float
) -> tuple[Float64, NDArray[np.bool_]]:
    """Joints in cells of the cube, and which of them are labelled and inside of it.

    Without a depth of its own a joint lies in the middle.

    Args:
        person: in pixels of the crop, and metres.
        root: index of the joint whose depth is the middle's.
        size: of the crop, pixels.
        grid: cells along each axis.
        half_range_m: metres from the middle to the front and to the back.

    Returns:
        float64 [J, 3], x, y, z in 0-based cells, and bool [J].
    """
    pixels = person.pixels
    depth = np.full(len(pixels), 0.5)
    if person.placed[root]:
        relative = person.points[:, 2] - person.points[root, 2]
        depth[person.placed] = (relative[person.placed] / half_range_m + 1) / 2
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1) & (depth >= 0) & (depth < 1)
    return np.column_stack([pixels / size, depth]) * grid, person.known & inside
