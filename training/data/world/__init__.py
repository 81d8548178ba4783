"""A synthetic world of street scenes: test data, demo clip and pretraining set in one.

`World` is all that others need. Inside: `textures` and `road` draw the pictures, `meshes` the shapes, `scene` says
what stands where, `motion` how it moves, `raster` what each pixel sees, `shading` what colour it has, and `annotate`
writes the labels.
"""

from training.data.world.world import World

__all__ = ["World"]
