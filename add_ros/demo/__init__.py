"""The demo: a clip goes through the real node over DDS, and a page shows what came out. `python -m add_ros.demo`."""
