"""ROS bags, read without ROS: what is in them, whole or cut off."""
