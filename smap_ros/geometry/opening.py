"""Openings that a camera may have which people could be placed by."""

from __future__ import annotations

import math

from smap_ros.errors import CameraError

# Focal length by the longer side of the image. A fisheye lens of 220 degrees has 0.26, a camera
# without distortion of 157 degrees 0.1, a telescope of one degree 50.
FOCAL_RANGE = 0.1, 50.0
_NARROWEST, _WIDEST = (2 * math.atan(0.5 / focal) for focal in reversed(FOCAL_RANGE))


def check_field_of_view(fov: float) -> None:
    """Refuse an opening that no camera has which people could be placed by.

    Args:
        fov: horizontal field of view as it was stated, radians.

    Raises:
        CameraError: saying what is expected.
    """
    if not _NARROWEST <= fov <= _WIDEST:
        raise CameraError(
            f"the field of view is {math.degrees(fov):.4g} degrees; expected the horizontal field "
            f"of view in degrees, {math.degrees(_NARROWEST):.3g} to {math.degrees(_WIDEST):.4g}, "
            "or a calibration, which wider lenses need"
        )
