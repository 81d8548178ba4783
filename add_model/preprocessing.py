"""What the network sees of an image: resampled to a focal length, padded or cropped to a canvas.

Scaling every camera to the same focal length in pixels makes an object of one size at one distance cover the same
number of pixels whatever the camera, so that one network serves all of them. Training and prediction both come here.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from add_model.candidates import Candidates
from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.nms import NmsSettings, nms
from add_model.score_calibration import calibrated

PADDING = (124, 116, 104)  # ImageNet's mean colour, which the networks' normalisation turns into about zero


def scaled_size(camera: Camera, focal: float, max_pixels: int | None = None) -> tuple[int, int]:
    """The (width, height) at which the camera's focal lengths become `focal` pixels.

    Where that image would have more than `max_pixels`, it is the largest size of the same shape that does not.
    """
    width, height = camera.width * focal / camera.fu, camera.height * focal / camera.fv
    if max_pixels is not None and width * height > max_pixels:
        shrink = math.sqrt(max_pixels / (width * height))
        width, height = width * shrink, height * shrink
    return max(1, round(width)), max(1, round(height))


def resample(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image (H, W, 3) at another size: halved by means as long as it can be, the rest is linear interpolation.

    About as good for detection as area averages at the exact ratio, and several times faster
    (docs/research/performance.md).
    """
    image = _halved(image, width, height)
    if image.shape[1::-1] == (width, height):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def resample_half(image: np.ndarray, camera: Camera, width: int, height: int) -> np.ndarray:
    """What `resample` gives of the camera's image, of which this one is half as large in each direction, rounded up.

    Each of its pixels is two by two of the camera's exactly: the last ones of an odd side reach beyond that.
    """
    halved = _halved(image, width, height)
    sides = zip((width, height), (camera.width, camera.height), image.shape[1::-1], halved.shape[1::-1], strict=True)
    fx, fy = (2 * new / whole * given / side for new, whole, given, side in sides)
    return cv2.resize(halved, None, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR)  # to width and height, when rounded


def _halved(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image with its sides halved by means as long as they do not become smaller than these."""
    size = image.shape[1::-1]
    while True:
        halved = tuple(side // 2 if side >= 2 * new else side for side, new in zip(size, (width, height), strict=True))
        if halved == size:
            return image
        image, size = cv2.resize(image, halved, interpolation=cv2.INTER_AREA), halved


def pad_to_multiple(image: np.ndarray, camera: Camera, multiple: int = 32) -> tuple[np.ndarray, Camera]:
    """Image and camera, padded at the right and the bottom until both sides are multiples."""
    width, height = (math.ceil(side / multiple) * multiple for side in (camera.width, camera.height))
    return window(image, 0, 0, width, height, PADDING), camera.crop(0, 0, width, height)


def window(
    array: np.ndarray, left: int, top: int, width: int, height: int, fill: int | tuple[int, int, int]
) -> np.ndarray:
    """array[top:top + height, left:left + width], with `fill` where the window leaves the array.

    array (H, W) or (H, W, 3), uint8 or float.
    """
    rows, columns = array.shape[:2]
    x0, x1, y0, y1 = max(left, 0), min(left + width, columns), max(top, 0), min(top + height, rows)
    if (x0, y0, x1, y1) == (left, top, left + width, top + height):
        return np.ascontiguousarray(array[y0:y1, x0:x1])
    if x0 >= x1 or y0 >= y1:
        return np.full((height, width, *array.shape[2:]), fill, array.dtype)
    # Forty times faster than filling an array and copying into it.
    sides = (y0 - top, top + height - y1, x0 - left, left + width - x1)
    colour = fill if isinstance(fill, tuple) else (fill,) * 4
    return cv2.copyMakeBorder(array[y0:y1, x0:x1], *sides, cv2.BORDER_CONSTANT, value=colour)


# Twice what a KITTI image takes at the reference focal length: wider cameras are seen smaller, not slower.
MAX_PIXELS = 2 * 640 * 192


def network_size(camera: Camera, focal: float, max_pixels: int | None = None) -> tuple[int, int]:
    """The (width, height) at which a network of this focal length sees the camera's images, without padding.

    By default they have at most the pixels of two KITTI images.
    """
    if max_pixels is None:
        max_pixels = round(MAX_PIXELS * (focal / REFERENCE_FOCAL) ** 2)
    return scaled_size(camera, focal, max_pixels)


def half_size(camera: Camera) -> tuple[int, int]:
    """(width, height) of the camera's image decoded at half its size, as libjpeg rounds them."""
    return (camera.width + 1) // 2, (camera.height + 1) // 2


def half_is_enough(camera: Camera, focal: float, max_pixels: int | None = None) -> bool:
    """Whether a network of this focal length is given at most half of the camera's pixels in each direction.

    `resample` begins by halving such an image, so that it may as well be decoded at half its size.
    """
    width, height = network_size(camera, focal, max_pixels)
    return 2 * width <= camera.width and 2 * height <= camera.height


def preprocess(
    image: np.ndarray, camera: Camera, focal: float, multiple: int, max_pixels: int | None = None
) -> tuple[np.ndarray, Camera]:
    """The canvas that a network is given, and the camera that took it: scaled to a focal length, then padded.

    The image is of the camera's size or of `half_size`.
    """
    width, height = network_size(camera, focal, max_pixels)
    if image.shape[1::-1] == (camera.width, camera.height):
        image = resample(image, width, height)
    else:
        image = resample_half(image, camera, width, height)
    return pad_to_multiple(image, camera.resize(width, height), multiple)


MAX_CANDIDATES = 1000  # of one image; networks give 50 or so
_FARTHEST, _LARGEST = 1e5, 1e3  # metres
_ROUNDING = 1e-5  # of a sigmoid in half precision


def postprocess(
    candidates: Candidates,
    classes: ClassSpec,
    camera: Camera,
    seen: Camera,
    suppression: NmsSettings | None = NmsSettings(),  # noqa: B008 - frozen
    score_threshold: float = 0.0,
) -> Detections:
    """What a network found on the canvas of `seen` -> detections in the image of `camera`, each object once.

    classes: in the order of labels; suppression: the detector's; score_threshold: of calibrated scores, below which
    nothing could suppress what is above. What cannot be is left out and counted.
    """
    possible = _possible(candidates, len(classes), seen)
    chosen = np.flatnonzero(possible)
    if len(chosen) > MAX_CANDIDATES:  # each is compared with each
        chosen = np.sort(chosen[np.argsort(-candidates.scores[chosen], kind="stable")[:MAX_CANDIDATES]])
    scores, labels, boxes, boxes2d, depth_std = (np.asarray(values)[chosen] for values in candidates)
    labels = labels.astype(int)
    # The canvas starts at the image's first pixel, so the pixel grids differ by the scale alone.
    scale = np.array([camera.fu / seen.fu, camera.fv / seen.fv] * 2)
    boxes2d = box3d.clip_to_image((boxes2d + 0.5) * scale - 0.5, camera)
    scores = calibrated(scores, labels, classes)
    scores, boxes, boxes2d, depth_std = (values.astype(float) for values in (scores, boxes, boxes2d, depth_std))
    found = Detections(np.array(classes.names)[labels], scores, boxes, boxes2d, depth_std, int((~possible).sum()))
    found = found[box3d.has_area(boxes2d) & (scores >= score_threshold)]
    return nms(found[np.argsort(-found.scores, kind="stable")], suppression)


def _possible(candidates: Candidates, classes: int, seen: Camera) -> np.ndarray:
    """(K,) whether all values are finite, and such as an object before the camera can have."""
    scores, labels, boxes, boxes2d, depth_std = (np.asarray(values, float) for values in candidates)
    with np.errstate(invalid="ignore", over="ignore"):
        depth = boxes[:, :3] @ seen.P[2, :3] + seen.P[2, 3]
        fine = (scores >= 0) & (scores <= 1 + _ROUNDING) & np.isin(labels, np.arange(classes))
        fine &= (depth > 0) & (np.abs(boxes[:, :3]) < _FARTHEST).all(axis=1) & np.isfinite(boxes[:, 6])
        fine &= ((boxes[:, 3:6] > 0) & (boxes[:, 3:6] < _LARGEST)).all(axis=1)
        return fine & np.isfinite(boxes2d).all(axis=1) & (depth_std >= 0) & np.isfinite(depth_std)
