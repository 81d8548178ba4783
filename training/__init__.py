"""Data sets, learning and scoring. Knows no ROS."""
