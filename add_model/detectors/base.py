"""What a detector is: the one class to implement for a new one.

A new detector is a folder beside `monodle/` with a subclass of `Detector`, a `TargetEncoder` and, to be trained with
ADD, a `DistillationAdapter`; and one entry in `add_model.registry`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from add_model.candidates import DEPTH_TOLERANCE, Candidates
from add_model.classes import ClassSpec
from add_model.detectors.losses import ONE_PROCESS, Normaliser
from add_model.geometry.camera import Camera
from add_model.labels import Labels
from add_model.nms import NmsSettings

Features = TypeVar("Features")  # a detector's own: what its losses, its decoding and its distillation read


@dataclass(frozen=True)
class CandidateBatch:
    """The best K candidates of each image, best first: what prediction and export return.

    Attributes:
        scores: (B, K), in [0, 1]
        labels: (B, K), index of the class
        boxes: (B, K, 7), in P's frame
        boxes2d: (B, K, 4), pixels of the network's input
        depth_std: (B, K), metres
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    boxes2d: Tensor
    depth_std: Tensor

    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors in the order of `Candidates`, which is that of an exported graph's outputs."""
        return tuple(getattr(self, name) for name in Candidates._fields)

    def first(self) -> Candidates:
        """The candidates of the first image as numpy arrays."""
        return Candidates(*(output[0].cpu().numpy() for output in self.outputs()))


class TargetEncoder(Protocol):
    """How labels become targets. Runs in the loader's processes, so it uses numpy alone."""

    def encode(self, camera: Camera, labels: Labels, depth_map: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Targets of one image.

        Args:
            camera: of the network's input.
            labels: of the same image.
            depth_map: (H, W) metres, 0 unknown; None where the frames come without depth.

        Returns:
            Arrays by name, of the same shapes for all images of one size. `mask` (M,) says which rows of objects are
            real; losses are divided by their number.
        """


class Detector(nn.Module, ABC, Generic[Features]):
    """A monocular 3D detector.

    Attributes:
        classes: what it finds, in the order of its labels
        backbone: the part that ImageNet weights are for
        focal: pixels; images are scaled to this focal length before the network sees them
        size_multiple: sides of the network's input are multiples of this
        nms: how detections of one object are merged after the network; None for a detector that needs no suppression
        target_encoder: how labels become targets
    """

    classes: ClassSpec
    backbone: nn.Module
    focal: float
    size_multiple: int = 32
    nms: NmsSettings | None = NmsSettings()
    target_encoder: TargetEncoder

    @property
    def published_part(self) -> nn.Module:
        """The part that a published file of weights holds; it loads one by `load_weights`, where there is any."""
        return self.backbone

    @abstractmethod
    def extract_features(self, images: Tensor, P: Tensor) -> Features:
        """Run the network up to what losses and decoding read.

        Args:
            images: (B, H, W, 3) uint8 RGB, sides multiples of `size_multiple`.
            P: (B, 3, 4) their projections.
        """

    @abstractmethod
    def losses(
        self, features: Features, targets: Mapping[str, Tensor], normaliser: Normaliser = ONE_PROCESS
    ) -> dict[str, Tensor]:
        """The losses of a batch by name; their sum is minimised.

        Args:
            features: from `extract_features`.
            targets: from `target_encoder.encode`, stacked.
            normaliser: what sums are divided by where several processes share a batch.
        """

    @abstractmethod
    def decode(self, features: Features, P: Tensor) -> CandidateBatch:
        """The best candidates of images with these P (B, 3, 4). Exported with the network, so torch alone."""

    def forward(self, images: Tensor, P: Tensor) -> CandidateBatch:
        """Images (B, H, W, 3) uint8 RGB and their P (B, 3, 4) -> the best candidates."""
        return self.decode(self.extract_features(images, P), P)


def depth_certainty(depth_std: Tensor) -> Tensor:
    """The share of a Laplace distribution of this standard deviation, metres, that lies within one metre."""
    return 1 - torch.exp(-math.sqrt(2) * DEPTH_TOLERANCE / depth_std)


# Probabilities of classes and deviations of depth in metres -> what candidates are sorted by, in [0, 1].
Score = Callable[[Tensor, Tensor], Tensor]


def certain_score(probability: Tensor, depth_std: Tensor) -> Tensor:
    """The probability that the class is right, and the depth to a metre."""
    return probability * depth_certainty(depth_std)


def precise_score(probability: Tensor, depth_std: Tensor) -> Tensor:
    """What sorts as probability / deviation does, MonoDLE's and MonoDETR's published score, which exceeds 1."""
    return probability / (probability + depth_std)


def damped_score(probability: Tensor, depth_std: Tensor) -> Tensor:
    """GUPNet's published score."""
    return probability * torch.exp(-depth_std)


def take(values: Tensor, index: Tensor) -> Tensor:
    """values (B, N, ...) at index (B, K) -> (B, K, ...)."""
    extra = values.ndim - 2
    return values.gather(1, index[(...,) + (None,) * extra].expand(-1, -1, *values.shape[2:]))


def best_first(scores: Tensor, labels: Tensor, boxes: Tensor, boxes2d: Tensor, depth_std: Tensor) -> CandidateBatch:
    """Candidates in any order -> sorted by their scores."""
    scores, order = scores.sort(dim=1, descending=True)
    return CandidateBatch(scores, *(take(values, order) for values in (labels, boxes, boxes2d, depth_std)))
