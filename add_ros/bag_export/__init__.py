"""From bags to a data set in KITTI's object layout."""
