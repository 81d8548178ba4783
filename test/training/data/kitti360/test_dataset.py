"""KITTI-360 from its own files: what is read is what the world was, through all calibrations and poses."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.kitti360_writer import DRIVE, KINDS, RIG, WORLD, Shot, pose, street, write

from add_model.geometry import boxes as box3d
from training.data.kitti360.dataset import Kitti360Frames
from training.data.sample import Objects, Sample
from training.errors import DataSetError


@pytest.fixture(scope="module", params=[0, 1], ids=["left", "right"])
def made(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti360")
    drives = {
        0: {
            250: street(0, pose(0.4, 900, 3800, 115), request.param, True),
            251: street(1, pose(2, 1200, 3800, 116), request.param, True),
        },
        3: {10: street(2, pose(-2.5, -40, 20, 3), request.param, True)},
    }
    write(root, RIG, drives, request.param)
    return root, [s for frames in drives.values() for s in frames.values()], f"image_{request.param:02d}"


def test_boxes_come_back_in_the_rectified_cameras_frame(made):
    root, shots, camera = made
    read = Kitti360Frames(root, "train", camera)
    assert read.ids == [f"{DRIVE.format(d)}_{f:010d}" for d, f in ((0, 250), (0, 251), (3, 10))]
    for index, given in enumerate(shots):
        sample, expected = read.sample(index), given.sample.objects
        assert (sample.image == given.sample.image).all()
        np.testing.assert_allclose(sample.camera.P, given.sample.camera.P, rtol=1e-9)
        pairs = np.linalg.norm(sample.objects.boxes[:, None, :3] - expected.boxes[None, :, :3], axis=2) < 1e-3
        shown = np.isin(np.arange(len(expected)), given.instances)  # what nearer ones hide is not in the image
        assert shown.any()
        assert (pairs.sum(axis=0) == shown).all() and (pairs.sum(axis=1) == 1).all()
        k = pairs.argmax(axis=1)
        names = {"Cyclist": "bicycle", "Van": "caravan"}
        assert sample.objects.names.tolist() == [names.get(name, name) for name in expected.names[k]]
        np.testing.assert_allclose(sample.objects.boxes[:, :6], expected.boxes[k, :6], atol=2e-4)  # nine digits in XML
        np.testing.assert_allclose(box3d.wrap(sample.objects.boxes[:, 6] - expected.boxes[k, 6]), 0, atol=1e-5)
        whole = box3d.project_boxes(expected.boxes[k], given.sample.camera)
        np.testing.assert_allclose(sample.objects.boxes2d, np.clip(whole, 0, [309, 93, 309, 93]), atol=2e-2)


def test_scans_are_brought_to_the_camera(made):
    root, shots, camera = made
    read = Kitti360Frames(root, "train", camera, depth="lidar")
    for index, given in enumerate(shots):
        depth, truth = read.sample(index).depth, given.sample.depth
        known = depth > 0
        assert known.sum() > 500
        np.testing.assert_allclose(depth[known], truth[known], rtol=2e-4)


def test_occlusion_is_the_share_of_the_outline_that_the_instance_fills(tmp_path):
    """Squares of known numbers of pixels in the outline of one box that faces the camera."""
    camera = WORLD.sample(0).camera
    box = np.array([[0.0, 0.5, 12.0, 0.02, 4.0, 2.0, 0.0]])  # thin along x: seen from its broad side
    box[0, 6] = np.pi / 2
    objects = Objects(np.array(["Car"]), box, np.zeros((1, 4)), np.zeros(1), np.zeros(1, int))
    left, top, right, bottom = box3d.project_boxes(box, camera)[0]
    area = (right - left) * (bottom - top)
    shots = {}
    shares = (0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03, 0.0)
    for frame, share in enumerate(shares):
        instances = np.full((camera.height, camera.width), -1)
        inside = np.zeros_like(instances, bool)
        inside[int(np.ceil(top)) : int(bottom) + 1, int(np.ceil(left)) : int(right) + 1] = True
        instances[tuple(axis[: round(share * area)] for axis in np.nonzero(inside))] = 0
        sample = Sample("0", np.zeros((camera.height, camera.width, 3), np.uint8), camera, objects)
        shots[frame] = Shot(sample, pose(0.1 * frame, 200.0 * frame, 0, 0), [True], instances)
    write(tmp_path, RIG, {0: shots})
    # Instances are numbered through a drive.
    for frame, share in enumerate(shares):
        found = Kitti360Frames(tmp_path, "train").objects(frame)
        assert len(found) == (share > 0)
        assert found.occluded.tolist() == [sum(share < limit for limit in (0.45, 0.25, 0.05))] * (share > 0)


def test_a_moving_box_holds_in_its_own_frame_alone(tmp_path):
    one = street(0, pose(0, 0, 0, 0))
    first = replace(one, moving=[True] * len(one.moving))
    # The same place again, with an instance image that shows the first frame's objects.
    write(tmp_path, RIG, {0: {5: first, 6: first}})
    nodes = (tmp_path / "data_3d_bboxes" / "train" / f"{DRIVE.format(0)}.xml").read_text()
    read = Kitti360Frames(tmp_path, "train")
    both = [read.objects(index) for index in range(2)]
    assert len(both[0]) == len(both[1]) > 0
    still = nodes.replace("<timestamp>5</timestamp>", "<timestamp>-1</timestamp>")
    (tmp_path / "data_3d_bboxes" / "train_full").mkdir()
    (tmp_path / "data_3d_bboxes" / "train_full" / f"{DRIVE.format(0)}.xml").write_text(still)
    read = Kitti360Frames(tmp_path, "train", boxes="train_full")
    # Boxes that stand still hold in frame 6 too, but its instance image has other numbers.
    assert [len(read.objects(index)) for index in range(2)] == [len(both[0]), len(both[1])]
    picture = tmp_path / "data_2d_semantics" / "train" / DRIVE.format(0) / "image_00" / "instance"
    (picture / "0000000006.png").write_bytes((picture / "0000000005.png").read_bytes())
    assert len(read.objects(1)) == len(both[0])
    assert len(Kitti360Frames(tmp_path, "train").objects(1)) == 0


def test_lists_of_frames_and_what_is_missing(made, tmp_path):
    root, _, camera = made
    (tmp_path / "some.txt").write_text(f"# two\n{DRIVE.format(3)}_0000000010\n{DRIVE.format(0)} 0000000251\n")
    assert Kitti360Frames(root, str(tmp_path / "some.txt"), camera).ids[0] == f"{DRIVE.format(3)}_0000000010"
    assert len(Kitti360Frames(root, "train", camera, every=2)) == 2
    poses = root / "data_poses" / DRIVE.format(0) / "poses.txt"
    whole = poses.read_text()
    try:
        poses.write_text(whole.splitlines(True)[0])
        read = Kitti360Frames(root, "train", camera)
        assert len(read) == 2
        assert read.notes == [f"1 frame has no pose, and is left out: {DRIVE.format(0)}_0000000251"]
        first, second = whole.splitlines()[:2]
        for line in ("250 1 2 3", first.replace(first.split()[1], "nan", 1), first.replace(first.split()[4], "inf", 1)):
            poses.write_text(f"{second}\n{line}\n")
            with pytest.raises(DataSetError, match=r"poses.txt, line 2: a frame and 12 numbers are needed"):
                Kitti360Frames(root, "train", camera)
    finally:
        poses.write_text(whole)
    with pytest.raises(DataSetError, match="camera 'image_02': the perspective ones of KITTI-360 are image_00"):
        Kitti360Frames(root, "train", "image_02")
    with pytest.raises(DataSetError, match=r"val_frames.txt: no such file; frames is train or val"):
        Kitti360Frames(root, "val", camera)
    with pytest.raises(DataSetError, match=r"train_full/.*xml: No such file .*download KITTI-360's archive"):
        Kitti360Frames(root, "train", camera, boxes="train_full")
    with pytest.raises(DataSetError, match="of KITTI-360 there are lidar, object"):
        Kitti360Frames(root, "train", camera, depth="dense")
    (tmp_path / "bad.txt").write_text("000010\n")
    with pytest.raises(DataSetError, match="line 1: a drive and a frame are needed"):
        Kitti360Frames(root, str(tmp_path / "bad.txt"), camera)
    other = "image_01" if camera == "image_00" else "image_00"
    with pytest.raises(DataSetError, match="3 of 3 frames cannot be used") as error:
        Kitti360Frames(root, "train", other)
    assert set(error.value.problems) == {"image missing or broken", "instance image missing or broken"}


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("</opencv_storage>", "", "no element found"),
        ("<rows>4</rows>", "<rows>3</rows>", "cannot reshape"),
        ("<instanceId>0</instanceId>", "", "object1 has no instanceId"),
        ("<semanticId>13</semanticId>", "<semanticId>car</semanticId>", "invalid literal"),
    ],
)
def test_broken_boxes_are_one_error(old, new, said, tmp_path):
    one = street(0, pose(0, 0, 0, 0))
    assert "Car" in one.sample.objects.names and set(one.sample.objects.names) <= set(KINDS)
    write(tmp_path, RIG, {0: {5: one}})
    path = tmp_path / "data_3d_bboxes" / "train" / f"{DRIVE.format(0)}.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataSetError, match=f"not KITTI-360's boxes in XML .*{said}"):
        Kitti360Frames(tmp_path, "train")


def test_images_of_another_size_are_named(tmp_path):
    write(tmp_path, RIG, {0: {5: street(0, pose(0, 0, 0, 0))}})
    picture = tmp_path / "data_2d_raw" / DRIVE.format(0) / "image_00" / "data_rect" / "0000000005.png"
    cv2.imwrite(str(picture), np.zeros((94, 300, 3), np.uint8))
    with pytest.raises(DataSetError, match=r"300x94 pixels, 310x94 by perspective.txt"):
        Kitti360Frames(tmp_path, "train")
