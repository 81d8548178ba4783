"""A synthetic world of street scenes: test data, demo clip and pretraining set in one.

`World` is all that others need. Inside: `textures` and `road` draw the pictures; `mesh`, `vehicles`, `people` and
`props` are the shapes; `street` makes a street's choices, `cast` its road users, `clutter` all else, and `scene` says
what stands where; `motion` moves it before the camera as `placement`s, and `course` the camera; `raster` finds what
each pixel sees, with `paper` for textured faces; `shading` gives it colour, and `annotate` writes the labels.
"""

from training.data.world.world import World

__all__ = ["World"]
