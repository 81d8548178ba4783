"""One thing in the camera's frame at one moment, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.world.mesh import Mesh
from training.data.world.textures import Texture


@dataclass(frozen=True, eq=False)
class Placement:
    """A mesh in a box.

    box:     (7,) as `add_model.geometry.boxes` defines it, in the rendering camera's own frame
    colours: (MATERIALS, 3) RGB 0 to 255; TEXTURE's is a tint around 1
    label:   KITTI type, None for clutter
    paper:   what TEXTURE quads are papered with, and the metres that one repeat covers (0: once over each quad)
    shadow:  casts one
    identity: as `Actor` has it; -1 for what is no actor
    """

    mesh: Mesh
    box: np.ndarray
    colours: np.ndarray
    label: str | None = None
    paper: Texture | None = None
    paper_metres: float = 0.0
    shadow: bool = True
    identity: int = -1
