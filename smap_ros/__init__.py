"""Real-time, multi-person, absolute 3D human pose for ROS 2 robots from one RGB camera."""

from smap_ros.privacy import keep_private

__version__ = "0.1.0"

keep_private()
