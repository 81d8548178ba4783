"""Changes of colours as SSD's code draws them, which MonoDETR's published code has taken over."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_STILL = (0, 1, 2)


@dataclass(frozen=True)
class ColourChange:
    """One change of an image.

    Args:
        brightness: Added to all channels, grey values.
        contrast: Factor on all channels.
        contrast_first: Whether that is before saturation and hue change, or after.
        saturation: Factor, of HSV.
        hue: Added, of HSV, degrees.
        order: Of the channels that become red, green and blue.
    """

    brightness: float
    contrast: float
    contrast_first: bool
    saturation: float
    hue: float
    order: tuple[int, int, int]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The changed image (H, W, 3) uint8 RGB; values are clipped once, at the end."""
        changed = image.astype(np.float32) + np.float32(self.brightness)
        if self.contrast_first:
            changed *= np.float32(self.contrast)
        if (self.saturation, self.hue) != (1.0, 0.0):
            hsv = cv2.cvtColor(changed, cv2.COLOR_RGB2HSV)
            hsv[..., 1] *= np.float32(self.saturation)
            hsv[..., 0] = (hsv[..., 0] + np.float32(self.hue)) % 360
            changed = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        if not self.contrast_first:
            changed *= np.float32(self.contrast)
        return np.ascontiguousarray(np.clip(changed, 0, 255).astype(np.uint8)[..., list(self.order)])


@dataclass(frozen=True)
class PhotometricDistort:
    """How colours are changed: each kind of change happens to half of the frames.

    Args:
        brightness: Grey values by which brightness changes at most.
        contrast: Range of the factor.
        saturation: Range of the factor.
        hue: Degrees by which hue changes at most.
        permute: Whether channels are permuted, too.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 18.0
    permute: bool = True

    def draw(self, rng: np.random.Generator) -> ColourChange:
        """What happens to one frame."""
        brighter, contrasted, saturated, turned, permuted = rng.random(5) < 0.5
        brightness, contrast = rng.uniform(-self.brightness, self.brightness), rng.uniform(*self.contrast)
        saturation, hue = rng.uniform(*self.saturation), rng.uniform(-self.hue, self.hue)
        order = _ORDERS[rng.integers(len(_ORDERS))]
        return ColourChange(
            brightness if brighter else 0.0,
            contrast if contrasted else 1.0,
            bool(rng.random() < 0.5),
            saturation if saturated else 1.0,
            hue if turned else 0.0,
            order if permuted and self.permute else _STILL,
        )
