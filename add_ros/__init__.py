"""The ROS 2 side of the package: the detector node, its messages, and bag tools."""
