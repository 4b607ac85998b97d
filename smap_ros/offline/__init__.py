"""Recorded images without ROS: people in files, and the files that a run leaves."""
