"""People in a browser, of a graph that runs already.

ros2 launch smap_ros view.launch.py namespace:=robot image:=/camera/image_raw
"""

from smap_ros.graph.launch_description import describe
from smap_ros.graph.plan import VIEW


def generate_launch_description():
    """Read by ``ros2 launch``; ``--show-args`` lists the arguments."""
    return describe(VIEW)
