"""A data module in a training, without Lightning's trainer."""

from types import SimpleNamespace

from lightning.pytorch.accelerators import CPUAccelerator

from add_model.classes import KITTI_CLASSES
from add_model.detectors.keypoint_encoder import KeypointEncoder


def attached(data, sees_depth=False):
    """A data module as Lightning attaches it to a training of a detector with a focal length of 180."""
    detector = SimpleNamespace(focal=180, target_encoder=KeypointEncoder(), classes=KITTI_CLASSES, size_multiple=32)
    data.trainer = SimpleNamespace(
        lightning_module=SimpleNamespace(detector=detector, objective=SimpleNamespace(sees_depth=sees_depth)),
        accelerator=CPUAccelerator(),
        global_rank=0,
        world_size=1,
    )
    return data
