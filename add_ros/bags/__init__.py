"""Bag tools that need no ROS installation to read and write rosbag2: convert, play, record."""
