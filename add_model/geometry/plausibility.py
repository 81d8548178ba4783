"""Intrinsics that are valid but unlikely: of another resolution, binned twice, or never calibrated.

A wrong focal length gives wrong distances by the same factor, and nothing else shows it.
"""

from __future__ import annotations

import math

from add_model.geometry.camera import Camera

_MIDDLE = 0.25, 0.75  # where principal points lie, as shares of a side
_HALVED = 0.29  # both shares below it: more likely the matrix of half the resolution than a shifted lens
_APART = 1.6  # of the focal lengths along u and v
_WIDEST, _NARROWEST = 0.19, 7.0  # focal length as share of the longer side: fields of view of 138 and 8 degrees
_ALIKE = 0.2  # relative difference of two factors that are taken for one


def doubt(camera: Camera) -> str | None:
    """Why these intrinsics can hardly be of images of this size, and what would mend them; None where they can."""
    (cu, cv), size = (camera.P[0, 2], camera.P[1, 2]), (camera.width, camera.height)
    shares = cu / size[0], cv / size[1]
    outside = any(not _MIDDLE[0] <= share <= _MIDDLE[1] for share in shares) or max(shares) < _HALVED
    apart = max(camera.fu / camera.fv, camera.fv / camera.fu) > _APART
    focal = (camera.fu, camera.fv)[size[1] > size[0]] / max(size)
    if not (outside or apart or not _WIDEST <= focal <= _NARROWEST):
        return None
    what = f"focal lengths {camera.fu:.2f}, {camera.fv:.2f} and principal point {cu:.2f}, {cv:.2f} in images of "
    what += f"{size[0]}x{size[1]} pixels"
    if outside:
        return f"{what}: the principal point should lie near the middle; {_factor(shares)}"
    if apart:
        row, factor = ("second", camera.fu / camera.fv) if camera.fu > camera.fv else ("first", camera.fv / camera.fu)
        return (
            f"{what}: pixels would not be square, unless the images were stretched; {_nice(factor)} times the {row} "
            "row of the matrix would make them so"
        )
    view = math.degrees(2 * math.atan(0.5 / focal))
    return f"{what}: the field of view would be {view:.0f} degrees, which no common camera has; is the unit pixels?"


def _factor(shares: tuple[float, float]) -> str:
    if min(shares) <= 0:
        return "a calibrated matrix is needed (half the image's size where nothing better is known)"
    factors = [0.5 / share for share in shares]
    if abs(math.log(factors[0] / factors[1])) < _ALIKE and abs(math.log(factors[0])) > 0.4:
        factor = _nice(math.sqrt(factors[0] * factors[1]))
        return (
            f"a matrix of another resolution? {factor} times its first two rows would fit, and make distances {factor} "
            "times as far"
        )
    return "is the image cropped, and is that missing in the matrix or the camera_info's roi?"


def _nice(factor: float) -> float | int:
    """The whole number, or one over it, that is meant; else two digits."""
    near = round(factor) if factor >= 1 else 1 / round(1 / factor)
    return near if abs(near / factor - 1) < 0.15 else float(f"{factor:.2g}")
