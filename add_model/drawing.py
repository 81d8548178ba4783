"""Pictures of detections: 3D boxes on the camera image, and the scene in bird's-eye view.

Every function returns a new RGB uint8 array and does not change its input. Detections have the colour of their class,
ground truth is white.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from add_model.classes import ClassSpec
from add_model.colours import TRUTH_COLOUR, Colour, class_colour
from add_model.detections import Detections
from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera

_BACKGROUND, _GRID, _INK, _HALO = (24, 27, 31), (58, 64, 71), (196, 202, 208), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 4  # OpenCV draws at 1/16 pixel
LEGIBLE_WIDTH = 960  # pixels an image is enlarged to before boxes and labels are drawn side by side


def draw_boxes(
    image: np.ndarray,
    camera: Camera,
    boxes: np.ndarray,
    colours: Sequence[Colour],
    labels: Sequence[str] | None = None,
    line: float | None = None,
    up: np.ndarray | None = None,
) -> np.ndarray:
    """Draw 3D boxes, far ones first, the front face crossed.

    What lies behind the camera or outside the image is cut, boxes with NaN or millions of metres are left out.

    Args:
        image: (H, W, 3) uint8 RGB of the camera's size.
        camera: that of the image.
        boxes: (N, 7) in the frame of the camera's P.
        colours: one for each box.
        labels: one for each box, empty ones are not drawn; None for no labels.
        line: width of the lines in pixels, None for one that suits the image.
        up: (3,) along which the boxes stand, None for -y.

    Raises:
        ValueError: where the image is something else.
    """
    if image.shape != (camera.height, camera.width, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"the image must be uint8 of shape {(camera.height, camera.width, 3)} like its camera, "
            f"got {image.dtype} {image.shape}"
        )
    canvas = np.ascontiguousarray(image).copy()
    sane = _sane(boxes)
    boxes = np.where(sane[:, None], boxes, np.nan)
    edges = box3d.project_edges(boxes, camera, up=up)
    crosses = box3d.project_edges(boxes, camera, box3d.FRONT_DIAGONALS, up)
    far_first = np.argsort(-np.linalg.norm(boxes[:, :3], axis=1), kind="stable")
    unit = line or max(1.0, camera.width / 640)
    anchors = {}
    for i in far_first:
        frame, cross = _clip(edges[i], camera.width, camera.height), _clip(crosses[i], camera.width, camera.height)
        if not len(frame):
            continue
        extent = np.ptp(frame.reshape(-1, 2), axis=0).max()
        width = max(1, round(unit * min(1.0, extent / (40 * unit))))
        _lines(canvas, [*frame, *cross], _HALO, width + 2 if extent > 24 * unit else width + 1)
        _lines(canvas, cross, colours[i], max(1, width - 1))
        _lines(canvas, frame, colours[i], width)
        anchors[i] = frame.reshape(-1, 2).min(axis=0), frame.reshape(-1, 2).max(axis=0)
    taken: list[tuple[int, int, int, int]] = []
    for i in reversed(far_first):
        if labels is not None and i in anchors and labels[i]:
            _label(canvas, labels[i], *anchors[i], colours[i], 0.42 * max(1.0, camera.width / 1000), taken)
    return canvas


def draw_detections(
    image: np.ndarray,
    camera: Camera,
    detections: Detections,
    truth: np.ndarray | None = None,
    classes: ClassSpec | None = None,
) -> np.ndarray:
    """Draw detections with class, score and distance.

    Args:
        image: (H, W, 3) uint8 RGB of the camera's size.
        camera: that of the image.
        detections: in the frame of the camera's P.
        truth: (M, 7) ground-truth boxes, drawn below.
        classes: have the colours, see `class_colour`.
    """
    if truth is not None and len(truth):
        image = draw_boxes(image, camera, truth, [TRUTH_COLOUR] * len(truth), line=1)
    with np.errstate(over="ignore", invalid="ignore"):
        distances = np.linalg.norm(detections.boxes[:, :3] + camera.translation, axis=1)
    labels = [
        f"{name} {score:.2f} | {distance:.0f} m"
        for name, score, distance in zip(detections.names, detections.scores, distances, strict=True)
    ]
    colours = [class_colour(name, classes) for name in detections.names]
    return draw_boxes(image, camera, detections.boxes, colours, labels, up=detections.up)


def birds_eye_view(
    camera: Camera,
    detections: Detections,
    truth: np.ndarray | None = None,
    width: int = 480,
    height: int = 640,
    reach: float = 60.0,
    classes: ClassSpec | None = None,
    colours: Sequence[Colour] | None = None,
) -> np.ndarray:
    """The scene from above, (height, width, 3), the camera at the bottom and facing up.

    Grid lines stand every 10 metres (more where the picture is small); the lighter wedge is the field of view. A stroke
    from the centre to the front marks the heading, the front edge is thick. Ground truth is white and filled.

    Args:
        camera: has the field of view.
        detections: in the frame of the camera's P.
        truth: (M, 7) ground-truth boxes.
        width: pixels.
        height: pixels.
        reach: metres ahead that fit the height.
        classes: have the colours, see `class_colour`.
        colours: one for each detection; None for those of their classes.
    """
    if colours is None:
        colours = [class_colour(name, classes) for name in detections.names]
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    scale = height / (reach * 1.06)
    origin = np.array([(width - 1) / 2, height - 1 - 0.04 * reach * scale])

    def pixels(ground: np.ndarray | tuple[float, float]) -> np.ndarray:
        return origin + np.asarray(ground, float) * (scale, -scale)

    own = camera.own_frame()
    middle = (camera.height - 1) / 2
    sides = own.lift(np.array([[-0.5, middle, 2 * reach], [camera.width - 0.5, middle, 2 * reach]]))[:, [0, 2]]
    wedge = pixels(np.vstack([[0, 0], sides]))
    _fill(canvas, wedge, (255, 255, 255), 0.06)
    _grid(canvas, pixels, scale, reach)
    _lines(canvas, [wedge[[0, 1]], wedge[[0, 2]]], (120, 128, 136), 1)
    _fill(canvas, origin + 0.011 * height * np.array([(-1, 0.9), (0, -1), (1, 0.9)]), _INK, 1.0)

    line = max(1, round(height / 400))
    if truth is not None:
        for box in truth[_sane(truth)] + np.r_[camera.translation, [0] * 4]:
            _footprint(canvas, box, TRUTH_COLOUR, pixels, line, fill=0.35)
    sane = _sane(detections.boxes)
    for i in np.argsort(detections.scores, kind="stable"):
        if sane[i]:
            box = detections.boxes[i] + np.r_[camera.translation, [0] * 4]
            _footprint(canvas, box, colours[i], pixels, line, fill=0.25)
    return canvas


def _grid(canvas: np.ndarray, pixels: Callable[..., np.ndarray], scale: float, reach: float) -> None:
    """Lines of a bird's-eye view, and how many metres ahead they are."""
    height, width = canvas.shape[:2]
    middle, bottom = pixels((0, 0))
    font = 0.5 * max(0.8, min(1.4, height / 480))
    step = next((s for s in (10, 20, 50, 100, 200, 500) if s * scale >= 40), 1000)
    for metres in range(step, int(reach) + 1, step):
        y, x = bottom - metres * scale, metres * scale
        _lines(canvas, np.array([[(0, y), (width - 1, y)]]), _GRID, 1)
        for side in (middle - x, middle + x):
            if abs(side - middle) < width:
                _lines(canvas, np.array([[(side, 0), (side, height - 1)]]), _GRID, 1)
        if y > 24 * font:
            cv2.putText(canvas, f"{metres} m", (4, int(y) - 4), _FONT, font, _INK, 1, cv2.LINE_AA)
    _lines(canvas, np.array([[(middle, 0), (middle, bottom)]]), _GRID, 1)


def side_by_side(
    image: np.ndarray,
    camera: Camera,
    detections: Detections,
    truth: np.ndarray | None = None,
    classes: ClassSpec | None = None,
) -> np.ndarray:
    """One picture: the image with its boxes, and the bird's-eye view at its right, equally high.

    Images narrower than 960 pixels are enlarged first, so that labels stay legible. Arguments are those of
    `draw_detections` and `birds_eye_view`.
    """
    if camera.width < LEGIBLE_WIDTH:
        camera = camera.resize(LEGIBLE_WIDTH, max(1, round(camera.height * LEGIBLE_WIDTH / camera.width)))
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
    left = draw_detections(image, camera, detections, truth, classes)
    height = max(camera.height, 240)
    width = max(240, round(0.8 * height))
    right = birds_eye_view(camera, detections, truth, width, height, classes=classes)
    left = cv2.copyMakeBorder(left, 0, height - camera.height, 0, 4, cv2.BORDER_CONSTANT, value=_BACKGROUND)
    return np.hstack([left, right])


def _sane(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (N, 7) can be drawn at all: (N,) bool; NaN compares false."""
    return (np.abs(boxes) < 1e6).all(axis=1)


def _clip(segments: np.ndarray, width: int, height: int) -> np.ndarray:
    """Segments (E, 2, 2) cut to just outside the image (Liang and Barsky 1984); those that miss it are dropped."""
    margin = 8.0
    segments = segments[np.isfinite(segments).all(axis=(1, 2))]
    start, step = segments[:, 0], segments[:, 1] - segments[:, 0]
    low, high = np.array([-margin, -margin]), np.array([width + margin, height + margin])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - start) / step, (high - start) / step
    still, inside = step == 0, (start >= low) & (start <= high)
    enter = np.where(still, np.where(inside, -np.inf, np.inf), np.minimum(a, b)).max(axis=1, initial=0.0)
    leave = np.where(still, np.inf, np.maximum(a, b)).min(axis=1, initial=1.0)
    kept = enter < leave
    ends = np.stack([enter, leave], axis=1)[kept]
    return start[kept, None] + ends[..., None] * step[kept, None]


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def _lines(canvas: np.ndarray, segments: Sequence[np.ndarray] | np.ndarray, colour: Colour, width: int) -> None:
    if len(segments):
        cv2.polylines(canvas, list(_fixed(np.stack(list(segments)))), False, colour, width, cv2.LINE_AA, _SHIFT)


def _fill(canvas: np.ndarray, polygon: np.ndarray, colour: Colour, opacity: float) -> None:
    layer = canvas.copy()
    cv2.fillPoly(layer, [_fixed(polygon)], colour, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(layer, opacity, canvas, 1 - opacity, 0, dst=canvas)


def _footprint(
    canvas: np.ndarray,
    box: np.ndarray,
    colour: Colour,
    pixels: Callable[[np.ndarray], np.ndarray],
    line: int,
    fill: float,
) -> None:
    height, width = canvas.shape[:2]
    points = pixels(box3d.corners(box[None])[0, :4][:, [0, 2]])
    centre = pixels(box[[0, 2]])
    if not (np.abs(points - (width / 2, height / 2)) < 8 * max(width, height)).all():
        return
    _fill(canvas, points, colour, fill)
    outline = [points[[i, (i + 1) % 4]] for i in range(4)]
    _lines(canvas, [*outline, np.stack([centre, points[:2].mean(axis=0)])], colour, line)
    _lines(canvas, outline[:1], colour, line + 2)


def _label(
    canvas: np.ndarray,
    text: str,
    low: np.ndarray,
    high: np.ndarray,
    colour: Colour,
    size: float,
    taken: list[tuple[int, int, int, int]],
) -> None:
    """Write above the box, or where that place is taken further up, then below; give up where all are taken."""
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, size, 1)
    box_width, box_height = text_width + 6, text_height + baseline + 3
    height, width = canvas.shape[:2]
    x = int(np.clip((low[0] + high[0] - box_width) / 2, 0, max(0, width - box_width)))
    above = [math.floor(low[1]) - 2 - (k + 1) * box_height for k in range(5)]
    below = [math.ceil(high[1]) + 2 + k * box_height for k in range(3)]
    for y in [*above, *below, max(0, above[0])]:
        free = all(x + box_width <= x0 or x1 <= x or y + box_height <= y0 or y1 <= y for x0, y0, x1, y1 in taken)
        if free and 0 <= y <= height - box_height:
            taken.append((x, y, x + box_width, y + box_height))
            cv2.rectangle(canvas, (x, y), (x + box_width, y + box_height), colour, -1)
            dark = np.dot(colour, (0.299, 0.587, 0.114)) < 110
            ink = (255, 255, 255) if dark else (0, 0, 0)
            cv2.putText(canvas, text, (x + 3, y + text_height + 2), _FONT, size, ink, 1, cv2.LINE_AA)
            return
