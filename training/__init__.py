"""Data sets, learning and scoring. Knows no ROS."""

from add_model.signals import arm_programs

arm_programs()
