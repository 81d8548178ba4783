"""MonoDETR in the sizes that the registry offers."""

from __future__ import annotations

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.base import precise_score
from add_model.detectors.monodetr.box_coding import ShareSides
from add_model.detectors.monodetr.conventions import PUBLISHED
from add_model.detectors.monodetr.detector import MonoDETR
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.networks.plain import PlainNet
from add_model.networks.resnet import ResNet50


def monodetr_plain(classes: ClassSpec = KITTI_CLASSES) -> MonoDETR:
    """MonoDETR on the plain network, four maps from stride 4 on: for studies on a CPU."""
    return MonoDETR(
        PlainNet(),
        first=0,
        channels=64,
        heads=4,
        encoder_layers=1,
        decoder_layers=2,
        hidden=128,
        bins=40,
        queries=30,
        groups=5,
        focal=REFERENCE_FOCAL / 2,
        classes=classes,
    )


def monodetr_resnet50(classes: ClassSpec = KITTI_CLASSES) -> MonoDETR:
    """MonoDETR as published, on KITTI images of about 1280x384, without suppression."""
    return MonoDETR(
        ResNet50(),
        first=1,
        classes=classes,
        nms=None,
        depth_position=False,
        box_coding=ShareSides(),
        conventions=PUBLISHED,
        score=precise_score,
    )
