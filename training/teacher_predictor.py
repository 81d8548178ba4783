"""A trained teacher over frames with depth: detections for people to correct, or for a student to learn from."""

from __future__ import annotations

from pathlib import Path

import torch

from add_model.classes import ClassSpec
from add_model.detections import Detections
from add_model.errors import ModelError
from add_model.preprocessing import postprocess
from add_model.registry import adapter_for
from training.checkpoints import load_checkpoint, trained_detector
from training.data.frame_sources import Frames
from training.data.views import Scenes
from training.objectives.base import require_depth
from training.objectives.teacher import trained_branch


class TeacherPredictor:
    """A teacher, which sees depth at inference.

    Args:
        checkpoint: of a run with model.objective TeacherTraining.
        device: 'auto' (CUDA where there is a device), 'cpu', 'cuda' or 'cuda:N'.

    `trained_depth` is the source of the depth that it was trained with, None in older checkpoints.

    Raises:
        TrainingError: where the file is no teacher's.
        ModelError: where it does not hold what it says, or the device is not there.
    """

    def __init__(self, checkpoint: Path, device: str = "auto") -> None:
        held = load_checkpoint(checkpoint)
        detector, name = trained_detector(held, checkpoint), held["model_name"]
        self._adapter = adapter_for(name)
        branch = trained_branch(held, checkpoint, detector, self._adapter)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if not device.startswith(("cpu", "cuda")):
            raise ModelError(f"device {device}: torch runs a teacher, on cpu or cuda")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(f"device {device}: torch finds no CUDA device here; give --device cpu")
        self._device, self.trained_depth = torch.device(device), branch.depth_source
        self._detector, self._branch = detector.eval().to(self._device), branch.eval().to(self._device)

    @property
    def classes(self) -> ClassSpec:
        """What it detects."""
        return self._detector.classes

    def predict(self, frames: Frames, index: int) -> Detections:
        """Detections in a frame, best first, with boxes in the frame of its camera's P.

        Args:
            frames: with depth.
            index: of the frame.

        Raises:
            TrainingError: where the frames have no depth.
        """
        scene = Scenes(frames, self._detector.focal, self._detector.size_multiple)[index]
        canvas, P = scene.canvas[None].to(self._device), scene.P[None].to(self._device)
        depth = None if scene.depth is None else scene.depth[None].to(self._device)
        with torch.inference_mode():
            features = self._adapter.teacher_features(self._detector, canvas, P, require_depth(depth), self._branch)
            decoded = self._detector.decode(features, P)
        return postprocess(decoded.first(), self.classes, scene.camera, scene.seen, self._detector.nms)
