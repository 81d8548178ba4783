"""Where training samples come from: KITTI folders, image sequences and the synthetic world."""
