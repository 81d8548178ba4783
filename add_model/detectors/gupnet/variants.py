"""GUPNet in the sizes that the registry offers."""

from __future__ import annotations

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import damped_score
from add_model.detectors.gupnet.detector import GUPNet
from add_model.detectors.keypoint_encoder import published_radius
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.networks.dla import DLA34
from add_model.networks.dla_up import DLAUp
from add_model.networks.plain import PlainNet
from add_model.networks.pyramid import FeaturePyramid


def gupnet_plain(classes: ClassSpec = KITTI_CLASSES) -> GUPNet:
    """GUPNet on a plain network of 1.1 M parameters at half of the reference resolution: for studies on a CPU."""
    backbone = PlainNet()
    neck = FeaturePyramid(backbone.channels, 48)
    return GUPNet(backbone, neck, hidden=48, focal=REFERENCE_FOCAL / 2, classes=classes)


def gupnet_dla34(classes: ClassSpec = KITTI_CLASSES) -> GUPNet:
    """GUPNet as published: DLA-34 and DLAUp, on KITTI images of about 1280x384, without suppression."""
    backbone = DLA34()
    return GUPNet(
        backbone,
        DLAUp(backbone.channels),
        hidden=256,
        focal=2 * REFERENCE_FOCAL,
        classes=classes,
        radius=published_radius,
        nms=None,
        score=damped_score,
        box_heading=True,
    )
