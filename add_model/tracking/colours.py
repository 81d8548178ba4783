"""One colour for each track, in pictures, pages and markers."""

from __future__ import annotations

import colorsys


def track_colour(identity: int) -> tuple[int, int, int]:
    """RGB in 0..255 of a track, the same for one id everywhere; ids that follow each other differ most."""
    red, green, blue = colorsys.hsv_to_rgb((identity * 0.6180339887) % 1.0, 0.7, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
