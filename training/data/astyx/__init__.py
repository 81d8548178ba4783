"""Astyx HiRes2019, read from its own files: JPEG images, calibrations and 3D boxes in JSON."""
