"""Backbones and necks in plain torch: images to feature maps, nothing of detection."""
