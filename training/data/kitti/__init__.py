"""KITTI as it lies on disk: the object, raw and tracking layouts."""
