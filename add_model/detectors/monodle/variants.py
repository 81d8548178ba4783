"""MonoDLE in the sizes that the registry offers."""

from __future__ import annotations

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import precise_score
from add_model.detectors.keypoint_encoder import published_radius
from add_model.detectors.monodle.detector import MonoDLE
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.networks.dla import DLA34
from add_model.networks.dla_up import DLAUp
from add_model.networks.efficientnet_lite import EfficientNetLite0
from add_model.networks.plain import PlainNet
from add_model.networks.pyramid import FeaturePyramid


def monodle_lite0(classes: ClassSpec = KITTI_CLASSES) -> MonoDLE:
    """MonoDLE on EfficientNet-lite0: for CPUs and small GPUs."""
    backbone = EfficientNetLite0()
    return MonoDLE(backbone, FeaturePyramid(backbone.channels, 64), hidden=128, classes=classes)


def monodle_lite0_960(classes: ClassSpec = KITTI_CLASSES) -> MonoDLE:
    """`monodle_lite0` at 1.5 times its resolution: 960x288 for KITTI images."""
    backbone = EfficientNetLite0()
    neck = FeaturePyramid(backbone.channels, 64)
    return MonoDLE(backbone, neck, hidden=128, focal=1.5 * REFERENCE_FOCAL, classes=classes)


def monodle_plain(classes: ClassSpec = KITTI_CLASSES) -> MonoDLE:
    """MonoDLE on a plain network of 1.1 M parameters at half of lite0's resolution: for studies on a CPU."""
    backbone = PlainNet()
    neck = FeaturePyramid(backbone.channels, 48)
    return MonoDLE(backbone, neck, hidden=48, focal=REFERENCE_FOCAL / 2, classes=classes)


def monodle_dla34(classes: ClassSpec = KITTI_CLASSES) -> MonoDLE:
    """MonoDLE as published: DLA-34 and DLAUp, on KITTI images of about 1280x384, without suppression."""
    backbone = DLA34()
    return MonoDLE(
        backbone,
        DLAUp(backbone.channels),
        hidden=256,
        focal=2 * REFERENCE_FOCAL,
        classes=classes,
        radius=published_radius,
        nms=None,
        score=precise_score,
        likely_start=False,
        log_deviation=True,
    )
