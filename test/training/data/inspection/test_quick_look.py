"""Before the first step, a training names labels that it could not learn from."""

from dataclasses import replace

import numpy as np
import pytest

from training.data.inspection.quick_look import require_sound, shared_frames
from training.data.kitti.dataset import KittiFolder
from training.data.kitti.labels import write_objects
from training.data.world.world import World
from training.errors import DataSetError
from training.world import write_folder


@pytest.fixture
def folder(tmp_path):
    world = World(width=155, height=47, focal=90)
    write_folder(tmp_path, map(world.sample, range(3)), 0, "train")
    return tmp_path


def test_a_sound_folder_passes_and_headings_in_degrees_do_not(folder):
    frames = KittiFolder(folder)
    require_sound([frames])
    for i, name in enumerate(frames.ids):
        objects = frames.objects(i)
        turned = replace(objects, boxes=objects.boxes * [1, 1, 1, 1, 1, 1, 180 / np.pi])
        write_objects(folder / "training" / "label_2" / f"{name}.txt", turned)
    with pytest.raises(DataSetError, match=r"training: \d+ boxes .* beyond a turn: degrees.*add-ros data check"):
        require_sound([frames])


def test_frames_that_are_trained_and_validated_on_are_told(folder):
    every, one = KittiFolder(folder), KittiFolder(folder, ["000001"])
    assert shared_frames(every, one) == "1 of 1 frames to validate on are trained on (000001): their scores say little"
    assert shared_frames(KittiFolder(folder, ["000002"]), one) is None
