"""What a calibration states, whichever way it comes, and which camera an image was taken with."""

from smap_ros.calibration.calibration import Calibration, camera_from_info
from smap_ros.calibration.choice import CameraChoice
from smap_ros.calibration.files import read_calibration
from smap_ros.calibration.infos import CameraInfos
from smap_ros.calibration.rectified import (
    RECTIFIED,
    RECTIFIED_INFO,
    Rectification,
    rectification,
)

__all__ = [
    "RECTIFIED",
    "RECTIFIED_INFO",
    "Calibration",
    "CameraChoice",
    "CameraInfos",
    "Rectification",
    "camera_from_info",
    "read_calibration",
    "rectification",
]
