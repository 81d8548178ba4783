"""CaDDN in the sizes that the registry offers."""

from __future__ import annotations

from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.detectors.caddn.anchors import Grid
from add_model.detectors.caddn.depth_targets import DepthTargets, mean_of_all, mean_of_known
from add_model.detectors.caddn.detector import CaDDN
from add_model.detectors.caddn.frustum import DeepLabFrustum, PlainFrustum
from add_model.geometry.camera import REFERENCE_FOCAL
from add_model.networks.bev import BirdsEyeNetwork


def caddn_plain(classes: ClassSpec = KITTI_CLASSES) -> CaDDN:
    """CaDDN on the plain network, with voxels of 80 cm: for studies on a CPU."""
    grid = Grid(low=(2.0, -22.4, -3.0), high=(46.8, 22.4, 1.0), sides=(0.8, 0.8, 0.8))
    network = BirdsEyeNetwork(32, layers=(2, 3, 3), strides=(1, 2, 2), widths=(32, 48, 64), joined=(32, 32, 32))
    return CaDDN(PlainFrustum(40), network, grid, bins=40, collapsed=32, focal=REFERENCE_FOCAL / 2, classes=classes)


def caddn_resnet101(classes: ClassSpec = KITTI_CLASSES) -> CaDDN:
    """CaDDN as published, on KITTI images of about 1280x384; depth maps may be sparse."""
    return _published(classes, mean_of_known)


def caddn_resnet101_dense(classes: ClassSpec = KITTI_CLASSES) -> CaDDN:
    """The same network, trained as published on completed depth maps: what they leave out is beyond the last bin."""
    return _published(classes, mean_of_all)


def _published(classes: ClassSpec, depth_targets: DepthTargets) -> CaDDN:
    network = BirdsEyeNetwork(64, layers=(10, 10, 10), strides=(2, 2, 2), widths=(64, 128, 256), joined=(128, 128, 128))
    frustum, grid = DeepLabFrustum(80), Grid()
    return CaDDN(frustum, network, grid, bins=80, classes=classes, depth_targets=depth_targets, published_means=True)
