"""Detectors, each readable on its own, with its own loss."""
