"""Cameras, boxes, headings, lens distortion and rotated overlap: numpy."""
