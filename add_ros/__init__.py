"""The ROS 2 side of the package: the detector node, its messages, and bag tools."""

from add_model.signals import arm_programs

arm_programs()
