"""KITTI-360, read from its own files: perspective images, poses, scans and 3D boxes."""
