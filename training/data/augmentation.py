"""Augmentation of a sample: image, camera, labels and depth map change together and stay exact.

Objects keep their 3D boxes in metres under crop, resize and zoom: zooming scales the *focal length*, which the
camera follows; no depth is touched. What leaves the image is dropped from the labels, so that the difference in
`len(sample.objects)` counts it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import REFERENCE_FOCAL, Camera
from add_model.preprocessing import PADDING, resample, scaled_size, window
from training.data.photometric import PhotometricDistort
from training.data.sample import Objects, Sample

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
_HUE_AXIS = np.ones(3) / np.sqrt(3)
_GAUSS = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


def flip(sample: Sample) -> Sample:
    """The mirrored world (x -> -x) in the mirrored image (u -> width - 1 - u). Its own inverse."""
    objects = sample.objects
    boxes2d = box3d.flip_rectangles(objects.boxes2d, sample.camera.width)
    return replace(
        sample,
        image=cv2.flip(sample.image, 1),
        camera=sample.camera.flip(),
        objects=replace(objects, boxes=box3d.flip(objects.boxes), boxes2d=boxes2d),
        depth=None if sample.depth is None else np.ascontiguousarray(sample.depth[:, ::-1]),
    )


def crop(sample: Sample, left: int, top: int, width: int, height: int, fill: tuple[int, int, int] = PADDING) -> Sample:
    """The window `left, top, width, height` in whole pixels; past the image's edges it shows `fill` and depth 0.

    2D boxes are clipped, the share of each object outside grows by what the window cuts off, and objects wholly
    outside are dropped.
    """
    camera = sample.camera.crop(left, top, width, height)
    boxes2d = sample.objects.boxes2d - np.array([left, top, left, top], dtype=float)
    return replace(
        sample,
        image=window(sample.image, left, top, width, height, fill),
        camera=camera,
        objects=_keep_visible(replace(sample.objects, boxes2d=boxes2d), camera),
        depth=None if sample.depth is None else window(sample.depth, left, top, width, height, 0),
    )


def resize(sample: Sample, width: int, height: int) -> Sample:
    """The image resampled to width x height as the predictor does.

    Each depth pixel takes the depth of the source pixel under its centre or, where that is unknown, of the nearest
    known source pixel within its own area, so that sparse LiDAR maps lose no more than they must. Depths are never
    mixed.
    """
    camera = sample.camera.resize(width, height)
    sx, sy = width / sample.camera.width, height / sample.camera.height
    scale, offset = np.array([sx, sy, sx, sy]), np.array([0.5 * sx - 0.5, 0.5 * sy - 0.5] * 2)
    boxes2d = sample.objects.boxes2d * scale + offset
    return replace(
        sample,
        image=resample(sample.image, width, height),
        camera=camera,
        objects=replace(sample.objects, boxes2d=boxes2d),
        depth=None if sample.depth is None else resize_depth(sample.depth, width, height),
    )


def color_jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Randomly change brightness, contrast, saturation, hue and gamma of an image (H, W, 3) uint8 RGB, and add noise.

    Brightness by +-12%, contrast, saturation and gamma within about 1.3, hue by +-9 degrees, noise of up to 4 grey
    values.
    """
    contrast, saturation, gamma = np.exp(rng.uniform(-0.25, 0.25, 3))
    brightness, hue, sigma = rng.uniform(-30, 30), np.radians(rng.uniform(-9, 9)), rng.uniform(0, 4)
    colour = _hue_rotation(hue) @ (saturation * np.eye(3) + (1 - saturation) * _GREY[None, :])
    affine = np.hstack([contrast * colour, np.full((3, 1), brightness + (1 - contrast) * image.mean())])
    changed = cv2.transform(image, affine)
    table = 255 * (np.arange(256) / 255) ** gamma
    changed = cv2.LUT(changed, np.rint(table).astype(np.uint8))
    noise = np.rint(sigma * _GAUSS).astype(np.int16)[rng.integers(0, 256, image.shape, np.uint8)]
    return cv2.add(changed, noise, dtype=cv2.CV_8U)


def _keep_visible(objects: Objects, camera: Camera) -> Objects:
    """Clip 2D boxes to the image, drop those outside, and add what the clipping cut off to the truncated share."""
    whole = objects.boxes2d
    clipped, share = box3d.visible_part(whole, camera)
    # A negative share is KITTI's 'not given' (DontCare) and stays so.
    known = (objects.truncated >= 0) & ~np.isnan(share)
    truncated = np.where(known, 1 - (1 - objects.truncated) * share, objects.truncated)
    limit = [camera.width - 1, camera.height - 1]
    kept = (whole[:, 2:] > 0).all(axis=1) & (whole[:, :2] < limit).all(axis=1)
    return replace(objects, boxes2d=clipped, truncated=truncated)[kept]


def resize_depth(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """A depth map (H, W), 0 unknown, at another size, as `resize` says."""
    rows, columns = depth.shape
    under_row = ((np.arange(height) + 0.5) * (rows / height)).astype(int)
    under_column = ((np.arange(width) + 0.5) * (columns / width)).astype(int)
    resized = depth.take(under_row, 0).take(under_column, 1)
    if width >= columns and height >= rows:
        return resized
    # Known source pixels that lie in a target pixel without depth: the one nearest to its centre is written last.
    v, u = (np.arange(rows) + 0.5) * (height / rows), (np.arange(columns) + 0.5) * (width / columns)
    row, column = v.astype(int), u.astype(int)
    y, x = np.nonzero((resized == 0).take(row, 0).take(column, 1) & (depth > 0))
    off = ((u[x] - column[x] - 0.5) * columns / width) ** 2 + ((v[y] - row[y] - 0.5) * rows / height) ** 2
    order = np.argsort(-off, kind="stable")
    x, y = x[order], y[order]
    resized[row[y], column[x]] = depth[y, x]
    return resized


def _hue_rotation(angle: float) -> np.ndarray:
    """Rotation about the grey axis of RGB space (Rodrigues)."""
    x, y, z = _HUE_AXIS
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@dataclass(frozen=True)
class RandomCrop:
    """How the published codes of MonoDLE, GUPNet and MonoDETR scale and shift some of the frames.

    Args:
        prob: Share of the frames that are scaled and shifted; the others are whole.
        scale: Standard deviation of the factor on the crop's sides around 1, and how far it is from 1 at most.
        shift: Standard deviation of the crop's place as a share of the image's sides, and half of what it is at most.
        train_3d: Whether depth, 3D size and 3D offset are trained on in these views.
    """

    prob: float = 0.5
    scale: float = 0.4
    shift: float = 0.1
    train_3d: bool = False

    def draw(self, rng: np.random.Generator) -> tuple[bool, float, np.ndarray]:
        """Whether a frame is cropped, the factor on the crop's sides, and its shift (2,) as a share of the image."""
        if rng.random() >= self.prob:
            return False, 1.0, np.zeros(2)
        factor = float(np.clip(1 + self.scale * rng.standard_normal(), 1 - self.scale, 1 + self.scale))
        return True, factor, np.clip(self.shift * rng.standard_normal(2), -2 * self.shift, 2 * self.shift)


@dataclass(frozen=True)
class Augmentation:
    """How a training view differs from the frame.

    Args:
        flip_prob: Probability of mirroring.
        color_jitter: Whether colours change.
        scale_range: Range of factors on the model's focal length, log-uniform; the camera follows exactly, so metres
            stay metres.
        size: Of the view, (width, height) in pixels.
        crop: How frames are scaled and shifted instead, as published; then scale_range is not used.
        distort: How the frames' colours change instead, as MonoDETR's published code has it; then color_jitter is not
            used.
    """

    flip_prob: float = 0.5
    color_jitter: bool = True
    scale_range: tuple[float, float] = (0.75, 1.35)
    size: tuple[int, int] = (640, 192)
    crop: RandomCrop | None = None
    distort: PhotometricDistort | None = None

    @property
    def max_scale(self) -> float:
        """The largest factor on the focal length."""
        return self.scale_range[1] if self.crop is None else 1 / (1 - self.crop.scale)

    def __call__(self, sample: Sample, rng: np.random.Generator, focal: float = REFERENCE_FOCAL) -> Sample:
        """A view of the sample at this focal length, pixels, times a random factor."""
        if self.distort is not None:
            sample = replace(sample, image=self.distort.draw(rng)(sample.image))
        if rng.random() < self.flip_prob:
            sample = flip(sample)
        sample = self._scaled_anywhere(sample, rng, focal) if self.crop is None else self._cropped(sample, rng, focal)
        if self.color_jitter and self.distort is None:
            sample = replace(sample, image=color_jitter(sample.image, rng))
        return sample

    def _scaled_anywhere(self, sample: Sample, rng: np.random.Generator, focal: float) -> Sample:
        focal = focal * float(np.exp(rng.uniform(*np.log(self.scale_range))))
        sample = resize(sample, *scaled_size(sample.camera, focal))
        left, top = (
            int(rng.integers(min(0, have - want), max(0, have - want) + 1))
            for have, want in zip((sample.camera.width, sample.camera.height), self.size, strict=True)
        )
        return crop(sample, left, top, *self.size, fill=PADDING)

    def _cropped(self, sample: Sample, rng: np.random.Generator, focal: float) -> Sample:
        cropped, factor, shift = self.crop.draw(rng)
        sample = resize(sample, *scaled_size(sample.camera, focal / factor))
        # The crop's centre is that of the view; the shift is one of the image, whatever the crop's size.
        centre = (0.5 + shift) * (sample.camera.width, sample.camera.height)
        left, top = (round(float(c - side / 2)) for c, side in zip(centre, self.size, strict=True))
        sample = crop(sample, left, top, *self.size, fill=PADDING)
        return replace(sample, trains_3d=self.crop.train_3d or not cropped)
