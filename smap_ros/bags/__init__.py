"""ROS bags read without ROS: whole, cut off, or of ROS 1."""

BAG_SUFFIXES = (".mcap", ".db3", ".bag")
