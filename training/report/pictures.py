"""A frame on a page: the camera image with its boxes, and the same scene from above."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from add_model import drawing
from add_model.classes import ClassSpec
from add_model.colours import TRUTH_COLOUR, class_colours
from add_model.detections import Detections
from add_model.geometry.camera import Camera
from add_model.tracking import Tracks, track_colour

WIDTHS = 960, 1280  # pixels: smaller and larger images are scaled to these before they are drawn on
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 82]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 6]  # 9 takes four times as long for 4% less


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, and a description of it."""

    source: str
    text: str


@dataclass(frozen=True)
class FramePictures:
    """Two data URIs, and the size of the first in pixels; the view from above is square."""

    camera: str
    above: str
    width: int
    height: int


def frame_pictures(
    image: np.ndarray,
    camera: Camera,
    detections: Detections,
    truth: np.ndarray | None,
    above: int = 480,
    widths: tuple[int, int] = WIDTHS,
    classes: ClassSpec | None = None,
) -> FramePictures:
    """Draw detections in the colours of their classes over ground truth in white.

    Args:
        image: (H, W, 3) uint8 RGB.
        camera: that of the image.
        detections: in the frame of the camera's P.
        truth: (M, 7) ground-truth boxes in the same frame.
        above: pixels, width and height of the view from above.
        widths: least and most pixels of the image.
        classes: have the colours, see `colours.class_colour`.
    """
    image, camera = _resized(image, camera, widths)
    front = drawing.draw_detections(image, camera, detections, truth, classes)
    ground = drawing.birds_eye_view(camera, detections, truth, width=above, height=above, classes=classes)
    return FramePictures(
        data_uri("image/jpeg", encoded(".jpg", front, _JPEG)),
        data_uri("image/png", encoded(".png", ground, _PNG)),
        camera.width,
        camera.height,
    )


def track_picture(
    image: np.ndarray, camera: Camera, tracks: Tracks, truth: np.ndarray | None, widths: tuple[int, int] = WIDTHS
) -> str:
    """Draw tracks in the colours of their ids, with id, class and speed, over ground truth in thin white; a data URI.

    Args:
        image: (H, W, 3) uint8 RGB.
        camera: that of the image.
        tracks: at its moment.
        truth: (M, 7) ground-truth boxes in the frame of the camera's P.
        widths: least and most pixels of the image.
    """
    image, camera = _resized(image, camera, widths)
    labels = [f"{identity} {name}" for identity, name in zip(tracks.ids, tracks.names, strict=True)]
    if tracks.velocities is not None:
        speeds = np.linalg.norm(tracks.velocities, axis=1)
        labels = [f"{label} {speed:.0f} m/s" for label, speed in zip(labels, speeds, strict=True)]
    if truth is not None:
        image = drawing.draw_boxes(image, camera, truth, [TRUTH_COLOUR] * len(truth), line=0.6)
    colours = [track_colour(int(identity)) for identity in tracks.ids]
    drawn = drawing.draw_boxes(image, camera, tracks.boxes, colours, labels, up=tracks.up)
    return data_uri("image/jpeg", encoded(".jpg", drawn, _JPEG))


def tracks_above(camera: Camera, tracks: Tracks, truth: np.ndarray | None, above: int = 480) -> str:
    """The same from above, in a square of so many pixels; a data URI."""
    colours = [track_colour(int(identity)) for identity in tracks.ids]
    ground = drawing.birds_eye_view(camera, tracks.detections, truth, above, above, colours=colours)
    return data_uri("image/png", encoded(".png", ground, _PNG))


def legend(classes: ClassSpec) -> dict[str, str]:
    """Class -> the colour of its detections, as CSS has it, for a page's legend."""
    return {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in class_colours(classes).items()}


def encoded(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    """An RGB image as '.jpg' or '.png', by options of OpenCV. Raises ValueError where OpenCV can't."""
    done, data = cv2.imencode(suffix, image[..., ::-1], options)
    if not done:
        raise ValueError(f"a picture of {image.shape} could not be encoded")
    return data.tobytes()


def data_uri(kind: str, data: bytes) -> str:
    """Bytes of a MIME type as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _resized(image: np.ndarray, camera: Camera, widths: tuple[int, int]) -> tuple[np.ndarray, Camera]:
    width = int(np.clip(camera.width, *widths))
    if width == camera.width:
        return image, camera
    camera = camera.resize(width, max(1, round(camera.height * width / camera.width)))
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(image, (camera.width, camera.height), interpolation=method), camera
