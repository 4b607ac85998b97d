"""The ROS 2 nodes. They are thin: parameters, QoS, messages, lifecycle, diagnostics."""
