"""Real-time, multi-person, absolute 3D human pose for ROS 2 robots from one RGB camera."""

__version__ = "0.1.0"
