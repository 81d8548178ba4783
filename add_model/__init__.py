"""Monocular 3D detection: geometry, networks and prediction. Knows neither ROS nor data sets."""
