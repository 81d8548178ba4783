"""Convert between ROS images and numpy arrays: the Python API of ROS 2's cv_bridge, on the rosbags-image library.

For a ROS 2 runtime from PyPI, which lacks that package. On a machine with a ROS distribution the distribution's own
package is imported instead of this one.
"""

from cv_bridge.core import CvBridge, CvBridgeError, getCvType

__all__ = ["CvBridge", "CvBridgeError", "getCvType"]
