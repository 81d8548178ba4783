"""Textures as they lie on faces: warped into the image by each face's plane, not by its corners."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.data.world.placement import Placement
from training.data.world.textures import Texture


@dataclass(frozen=True, eq=False)
class Sheet:
    """One papered face over one window of the image.

    level: of the texture's halvings, the one that suits the face's size in the image
    warp:  (3, 3) from the window's pixels to texels of that level
    size:  (width, height) of the window
    tiled: the texture repeats
    """

    texture: Texture
    level: int
    warp: np.ndarray
    size: tuple[int, int]
    tiled: bool

    def part(self, top: int, left: int, size: tuple[int, int]) -> Sheet:
        """The part of the window that starts at row `top` and column `left`."""
        shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
        return Sheet(self.texture, self.level, self.warp @ shift, size, self.tiled)

    def holds(self) -> np.ndarray:
        """False (h, w) at the holes of a cut-out texture."""
        return self._lay(self.texture.alphas[self.level]) > 127

    def colours(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""
        return self._lay(self.texture.levels[self.level])

    def _lay(self, picture: np.ndarray) -> np.ndarray:
        border = cv2.BORDER_WRAP if self.tiled else cv2.BORDER_REPLICATE
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(picture, self.warp, self.size, flags=flags, borderMode=border)


def sheets(
    placements: list[Placement], quads: np.ndarray, uv: np.ndarray, windows: np.ndarray, K: np.ndarray
) -> list[Sheet]:
    """One for each of N papered quads (N, 4, 3) in the camera's frame.

    placements: N, each quad's own; uv: (N, 4, 2); windows: (N, 4) top, bottom, left, right, inclusive
    """
    if not placements:
        return []
    along, up = quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    toward_u, toward_v = uv[:, 1] - uv[:, 0], uv[:, 3] - uv[:, 0]
    metres = np.array([p.paper_metres for p in placements])
    lengths = np.sqrt(np.stack([(along * along).sum(axis=1), (up * up).sum(axis=1)], axis=1))
    # Where a quad is wound the other way, u runs along its other edge.
    lengths = np.where(np.abs(toward_u[:, :1]) < 0.5, lengths[:, ::-1], lengths)
    repeats = np.where(metres[:, None] > 0, lengths / np.maximum(metres, 1e-9)[:, None], 1.0)
    to_pixels = K @ np.stack([along, up, quads[:, 0]], axis=2)
    # Texels per pixel in the middle of the quad, by the area that its two edges span in the image.
    middle = np.abs(to_pixels[:, 2] @ (0.5, 0.5, 1.0))
    determinant = np.linalg.det(to_pixels)
    spanned = np.abs(determinant) / np.maximum(middle, 1e-3) ** 3
    shapes = np.array([p.paper.alpha.shape for p in placements], float)
    texels = shapes.prod(axis=1) * repeats.prod(axis=1)
    depth = np.array([len(p.paper.levels) for p in placements])
    level = np.clip(np.round(np.log2(texels / np.maximum(spanned, 1e-6)) / 2 - 0.2), 0, depth - 1).astype(int)
    shapes = np.array([p.paper.levels[n].shape[:2] for p, n in zip(placements, level.tolist(), strict=True)], float)
    frame, scale, shift = (np.tile(np.eye(3), (len(quads), 1, 1)) for _ in range(3))
    frame[:, :2, 0], frame[:, :2, 1], frame[:, :2, 2] = toward_u, toward_v, uv[:, 0]
    scale[:, 0, 0], scale[:, 1, 1] = shapes[:, 1] * repeats[:, 0], shapes[:, 0] * repeats[:, 1]
    scale[:, :2, 2] = -0.5
    shift[:, 0, 2], shift[:, 1, 2] = windows[:, 2], windows[:, 0]
    warp = scale @ frame @ np.linalg.inv(to_pixels) @ shift
    sizes = np.stack([windows[:, 3] - windows[:, 2] + 1, windows[:, 1] - windows[:, 0] + 1], axis=1).tolist()
    return [
        Sheet(p.paper, n, w, tuple(size), p.paper_metres > 0)
        for p, n, w, size in zip(placements, level.tolist(), warp, sizes, strict=True)
    ]
