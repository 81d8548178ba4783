"""python -m add_ros.detector: the detector node (`add_ros.node.detector_node`)."""

from add_ros.node.detector_node import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
