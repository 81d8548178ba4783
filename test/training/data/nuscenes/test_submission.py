"""What nuScenes' evaluation is given stands in the world where the boxes stand, once for all cameras."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.nuscenes_writer import FORWARD_CAMERA

from add_model.detections import Detections
from training import nuscenes
from training.data.nuscenes.submission import Submission
from training.data.posed_objects import matrix

TO_GLOBAL = [
    matrix((Rotation.from_euler("z", yaw) * FORWARD_CAMERA).as_matrix(), np.array([400.0, 1100.0, 1.5]))
    for yaw in (0.4, 0.4 - np.radians(55))
]


def detections(names, scores, boxes):
    boxes = np.array(boxes, float)
    return Detections(np.array(names), np.array(scores, float), boxes, np.zeros((len(boxes), 4)), np.ones(len(boxes)))


def seen_by(camera, centre, heading):
    """A car at a place of the world, as a camera sees it; its heading is about the world's z axis."""
    inverse = np.linalg.inv(TO_GLOBAL[camera])
    x, y, z = inverse[:3, :3] @ centre + inverse[:3, 3]
    ahead = inverse[:3, :3] @ [np.cos(heading), np.sin(heading), 0]
    return [x, y, z, 4.2, 1.8, 1.5, np.arctan2(-ahead[2], ahead[0])]


def test_a_box_is_given_in_the_world_by_its_centre_size_and_yaw():
    centre, heading = np.array([418.0, 1112.0, 0.9]), 2.3
    submission = Submission()
    submission.add("a", [(detections(["Car"], [0.75], [seen_by(0, centre, heading)]), TO_GLOBAL[0])])
    (row,) = json.loads(json.dumps(submission.content()))["results"]["a"]
    np.testing.assert_allclose(row["translation"], centre, atol=1e-9)
    assert row["size"] == [1.8, 4.2, 1.5]  # width, length, height
    w, x, y, z = row["rotation"]
    np.testing.assert_allclose(
        Rotation.from_quat([x, y, z, w]).apply([1, 0, 0]), [np.cos(heading), np.sin(heading), 0], atol=1e-9
    )
    assert (row["detection_name"], row["detection_score"], row["sample_token"]) == ("car", 0.75, "a")
    assert {name for name, used in submission.content()["meta"].items() if used} == {"use_camera", "use_external"}


def test_an_object_that_two_cameras_see_is_given_once():
    here, there = np.array([415.0, 1104.0, 0.9]), np.array([415.0, 1109.0, 0.9])
    views = [
        (detections(["car", "car"], [0.6, 0.5], [seen_by(0, here, 0.1), seen_by(0, there, 0.1)]), TO_GLOBAL[0]),
        (detections(["car", "truck"], [0.8, 0.3], [seen_by(1, here + 0.3, 0.2)] * 2), TO_GLOBAL[1]),
        (detections([], [], np.empty((0, 7))), TO_GLOBAL[1]),
    ]
    submission = Submission()
    submission.add("a", views)
    assert [(r["detection_name"], r["detection_score"]) for r in submission.results["a"]] == [
        ("car", 0.8),
        ("car", 0.5),
        ("truck", 0.3),
    ]
    assert submission.left_out["seen by two cameras"] == 1
    # One camera's own detections are its detector's affair.
    submission.add("b", [(detections(["car", "car"], [0.6, 0.5], [seen_by(0, here, 0.1)] * 2), TO_GLOBAL[0])])
    assert len(submission.results["b"]) == 2


def test_what_the_task_does_not_take_is_counted():
    far = [[30.0 * k, 1.0, 20.0, 4.0, 2.0, 1.5, 0.0] for k in range(502)]
    submission = Submission()
    submission.add("a", [(detections(["car"] * 501 + ["Tram"], np.linspace(1, 0, 502), far), TO_GLOBAL[0])])
    assert len(submission.results["a"]) == 500
    assert +submission.left_out == {"tram is no class of nuScenes": 1, "beyond the 500 best of a sample": 1}
    submission.add("b", [(detections(["Cyclist"], [0.5], far[:1]), TO_GLOBAL[0])])
    assert submission.results["b"][0]["detection_name"] == "bicycle"
    assert submission.results["b"][0]["translation"] == pytest.approx(
        (TO_GLOBAL[0] @ [0, 1.0, 20.0, 1])[:3].tolist(), abs=1e-9
    )


def test_an_output_that_cannot_be_written_is_told_before_the_files_are_read(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert nuscenes.main([str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot write {tmp_path}: it is a folder")
    out = tmp_path / "file" / "results.json"
    assert nuscenes.main([str(tmp_path / "none"), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot write {out}: ")
