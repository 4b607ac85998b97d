"""People in 3D from a video, a folder of images, a bag or a camera that we read ourselves.

ros2 launch smap_ros replay.launch.py source:=/path/to/video.mp4 fov_deg:=60
"""

from smap_ros.graph.launch_description import describe
from smap_ros.graph.plan import REPLAY


def generate_launch_description():
    """Read by ``ros2 launch``; ``--show-args`` lists the arguments."""
    return describe(REPLAY)
