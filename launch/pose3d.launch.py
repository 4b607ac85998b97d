"""People in 3D from a camera that a driver publishes.

ros2 launch smap_ros pose3d.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
"""

from smap_ros.graph.launch_description import describe
from smap_ros.graph.plan import LIVE


def generate_launch_description():
    """Read by ``ros2 launch``; ``--show-args`` lists the arguments."""
    return describe(LIVE)
