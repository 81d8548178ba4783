"""What an export tells of its recordings in numbers: timing, clocks, scans, calibration, labels."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np

from add_model.geometry import boxes as box3d
from add_model.geometry.camera import Camera
from add_ros.bag_export.exported_frames import ExportedFrames
from add_ros.bag_export.recording import Recording

_JUMP = 0.05  # a turned calibration must score this much better, relatively, to be named
_SHIFTS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # degrees
_MARGIN = 0.05  # metres that boxes are widened by
_EDGE = 0.5  # metres between neighbours of a scan's ring that make an edge


def timing(frames: ExportedFrames) -> list[str]:
    """A sentence for each camera on the rate of its exported frames and on its scans."""
    lines = []
    for camera, topic in enumerate(frames.topics):
        mine = frames.camera == camera
        lines.append(f"{topic}: {mine.sum()} frames{_rate(frames.stamp[mine], frames.bag[mine])}{_scans(frames, mine)}")
    return lines


def _rate(stamps: np.ndarray, bags: np.ndarray) -> str:
    steps = np.concatenate([np.diff(np.sort(stamps[bags == bag])) / 1e9 for bag in np.unique(bags)])
    if not len(steps):
        return ""
    return f", one every {np.median(steps):.3f} s (median; longest gap {steps.max():.2f} s)"


def _scans(frames: ExportedFrames, mine: np.ndarray) -> str:
    offsets = frames.scan_offset[mine & frames.scanned] / 1e6
    if not len(offsets):
        return ", no scans"
    return (
        f"; {len(offsets)} with a scan, {np.median(offsets):+.1f} ms from the image (median; "
        f"{offsets.min():+.1f} to {offsets.max():+.1f})"
    )


def clocks(recording: Recording) -> list[str]:
    """A sentence for each topic on the time from stamp to recording, and on clocks that drift or differ."""
    lines = []
    middles = {}
    for topic, found in sorted(recording.delays.items()):
        delays = found.spread()
        middles[topic] = float(np.median(delays))
        text = f"{topic}: recorded {middles[topic] * 1e3:+.0f} ms after its stamp (median of {found.count}"
        lines.append(f"{text}; {found.least * 1e3:+.0f} to {found.most * 1e3:+.0f})")
        half = len(delays) // 2
        drift = np.median(delays[half:]) - np.median(delays[:half]) if half >= 50 else 0.0
        if abs(drift) > 0.05:
            lines.append(
                f"{topic}: its clock drifts against the recorder's: by {drift * 1e3:+.0f} ms between the halves"
            )
    if middles and max(middles.values()) - min(middles.values()) > 1.0:
        late, early = max(middles, key=middles.get), min(middles, key=middles.get)
        lines.append(
            f"{late} and {early} are stamped by clocks that differ by {middles[late] - middles[early]:.1f} s: "
            "synchronise them (PTP or NTP), or scans and images do not belong together"
        )
    return lines


class ScanChecks:
    """What scans say of the extrinsic calibration, frame by frame."""

    def __init__(self) -> None:
        self._shares: list[float] = []
        self._inside: Counter[str] = Counter()
        self._scores: dict[tuple[str, float], float] = {}

    def add(self, image: np.ndarray, camera: Camera, points: np.ndarray, boxes: np.ndarray) -> None:
        """Take one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            camera: that of the image.
            points: (N, 3) in the frame of its P.
            boxes: (M, 7) labelled, in the same frame.
        """
        seen = camera.project(points)
        ahead = (seen[:, 2] > 0.1) & (seen[:, 0] >= 0) & (seen[:, 0] < camera.width)
        self._shares.append(
            float((ahead & (seen[:, 1] >= 0) & (seen[:, 1] < camera.height)).mean()) if len(seen) else 0
        )
        counts = box3d.count_inside(boxes, points, _MARGIN)
        self._inside.update(with_points=int((counts > 0).sum()), boxes=len(boxes))
        edges = depth_edges(points)
        if len(edges):
            self._score(image, camera, edges)

    def _score(self, image: np.ndarray, camera: Camera, edges: np.ndarray) -> None:
        grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2).astype(np.float32)
        strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        strength /= max(float(strength.mean()), 1e-6)
        for axis in ("yaw", "pitch"):
            for degrees in _SHIFTS:
                seen = camera.project(edges @ _turn(axis, degrees).T)
                u, v = np.rint(seen[:, :2]).astype(int).T
                ok = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height) & (seen[:, 2] > 0.1)
                if ok.any():
                    key = axis, degrees
                    self._scores[key] = self._scores.get(key, 0.0) + float(strength[v[ok], u[ok]].mean())

    def lines(self) -> list[str]:
        """Sentences on it; none without scans."""
        if not self._shares:
            return []
        lines = [f"{np.median(self._shares):.0%} of a scan's points fall into the image (median)"]
        if np.median(self._shares) < 0.01:
            lines.append("hardly a point falls into the image: the transform between scanner and camera must be wrong")
        if self._inside["boxes"]:
            lines.append(f"{self._inside['with_points']} of {self._inside['boxes']} labelled boxes have points in them")
        for axis in ("yaw", "pitch"):
            best = max(_SHIFTS, key=lambda degrees: self._scores.get((axis, degrees), 0.0))
            gain = self._scores.get((axis, best), 0.0) / max(self._scores.get((axis, 0.0), 0.0), 1e-9) - 1
            if best and gain > _JUMP:
                lines.append(
                    f"edges of the scan fit those of the images {gain:.0%} better with {best:+g} degrees of {axis}: "
                    "look at the pictures, the calibration may be off"
                )
        return lines


def depth_edges(points: np.ndarray) -> np.ndarray:
    """The points (K, 3) of a scan (N, 3) in a camera's frame that are nearer than a neighbour to one side of them.

    Neighbours are taken in the scan's own order, in which scanners give a ring's points one after the other.
    """
    depth = points[:, 2]
    close = np.linalg.norm(np.diff(points[:, :2] / np.maximum(depth, 0.1)[:, None], axis=0), axis=1) < 0.02
    step = np.diff(depth)
    nearer = np.zeros(len(points), bool)
    nearer[:-1] |= close & (step > _EDGE)
    nearer[1:] |= close & (step < -_EDGE)
    return points[nearer & (depth > 0.5)]


def _turn(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "yaw":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
