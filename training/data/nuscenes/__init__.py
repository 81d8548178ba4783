"""nuScenes, read from its own files: JSON tables, JPEG images and LiDAR scans."""
