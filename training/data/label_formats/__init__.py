"""Labels of other tools, read and written: CVAT, Datumaro, labelCloud, SUSTechPOINTS, Omni3D."""
