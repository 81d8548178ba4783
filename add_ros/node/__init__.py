"""The detector node: what `ros2 launch add_ros detector.launch.py` runs."""
