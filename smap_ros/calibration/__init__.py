"""What a calibration states, whichever way it comes, and which camera an image was taken with."""

from smap_ros.calibration.calibration import Calibration, camera_from_info
from smap_ros.calibration.choice import CameraChoice, KnownCamera
from smap_ros.calibration.files import read_calibration
from smap_ros.calibration.infos import CameraInfos
from smap_ros.calibration.rectified import RECTIFIED, Rectification, rectification

__all__ = [
    "RECTIFIED",
    "Calibration",
    "CameraChoice",
    "CameraInfos",
    "KnownCamera",
    "Rectification",
    "camera_from_info",
    "read_calibration",
    "rectification",
]
