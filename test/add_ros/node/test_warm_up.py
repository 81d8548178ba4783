"""What the model is run at before the first image."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.detector_bench import MODEL, camera_info, core_in_this_process

from add_model.predictor import Predictor
from add_ros.node.camera_attitude import CameraAttitude
from add_ros.node.tf_transformer import TfTransformer


@pytest.fixture
def core():
    with core_in_this_process({"model": str(MODEL), "device": "cpu", "threads": 1, "camera_pitch": 10.0}) as core:
        yield core


def warmed(core, monkeypatch, info):
    """(width, height, up) of each camera that the model is warmed up for, when this CameraInfo has come."""
    seen, warm_up = [], Predictor.warm_up

    def noted(self, camera, up=None):
        seen.append((camera.width, camera.height, up))
        warm_up(self, camera, up)

    monkeypatch.setattr(Predictor, "warm_up", noted)
    if info is not None:
        core._streams[0].input._on_info(info)
    core.load()
    return seen


def test_the_camera_that_is_there_is_warmed_up_for(core, monkeypatch):
    [(width, height, up)] = warmed(core, monkeypatch, camera_info())
    assert (width, height) == (640, 192)
    np.testing.assert_allclose(up, [0, -np.cos(np.radians(10)), -np.sin(np.radians(10))])


@pytest.mark.parametrize("info", [None, camera_info(width=0), camera_info(projection=np.zeros((3, 4)))])
def test_without_a_camera_that_can_be_used_it_is_a_common_one(core, monkeypatch, info):
    assert [each[:2] for each in warmed(core, monkeypatch, info)] == [(1280, 384)]


def test_a_camera_info_with_a_negative_stamp_does_not_end_the_node(core, monkeypatch):
    """rclpy has no such time, so tf2 can't be asked how the camera leans."""
    tree = SimpleNamespace(errors=LookupError, too_early=LookupError)
    core._streams[0]._frames = SimpleNamespace(attitude=CameraAttitude(0.0, 0.0, TfTransformer(tree, "floor", 0.0)))
    info = camera_info()
    info.header.stamp.sec = -1
    assert [each[:2] for each in warmed(core, monkeypatch, info)] == [(1280, 384)]
