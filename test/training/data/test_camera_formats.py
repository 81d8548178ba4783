"""Calibrations as OpenCV, Kalibr, EuRoC and `ros2 topic echo` write them: read as what they are, or refused by name."""

import cv2
import numpy as np
import pytest

from training.data.camera_info import is_camera_info, read_camera_info
from training.data.kitti.calib import CalibrationError

K = [721.5377, 0.0, 609.5593, 0.0, 721.5377, 172.854, 0.0, 0.0, 1.0]
D = [-0.3, 0.1, 0.001, -0.002, 0.01]

OPENCV = """%YAML:1.0
---
calibration_time: "Sun 29 Nov 2026"
image_width: 1242
image_height: 375
flags: 0
fisheye_model: {fisheye}
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 7.2153770000000002e+02, 0., 6.0955930000000001e+02, 0.,
       7.2153770000000002e+02, 1.7285400000000001e+02, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: {count}
   cols: 1
   dt: d
   data: {data}
avg_reprojection_error: 3.1e-01
"""

ECHO = """header:
  stamp:
    sec: 1317042000
    nanosec: 123456789
  frame_id: eye
height: 375
width: 1242
distortion_model: plumb_bob
d:
- 0.0
- 0.0
- 0.0
- 0.0
- 0.0
k:
- 721.5377
- 0.0
- 609.5593
- 0.0
- 721.5377
- 172.854
- 0.0
- 0.0
- 1.0
p:
- 721.5377
- 0.0
- 609.5593
- 0.0
- 0.0
- 721.5377
- 172.854
- 0.0
- 0.0
- 0.0
- 1.0
- 0.0
binning_x: {binning}
binning_y: {binning}
roi:
  x_offset: {left}
  y_offset: 0
  height: {height}
  width: {width}
  do_rectify: false
---
"""

KALIBR = """cam0:
  cam_overlaps: []
  camera_model: {camera}
  distortion_coeffs: [-0.01, 0.02, -0.003, 0.0004]
  distortion_model: {distortion}
  intrinsics: [458.654, 457.296, 367.215, 248.375]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
"""

EUROC = """# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)
T_BS:
  cols: 4
  rows: 4
  data: [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [752, 480]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""


def written(tmp_path, text, name="calibration.yml"):
    path = tmp_path / name
    path.write_text(text)
    assert is_camera_info(path)
    return path


def assert_equal(maps, others):
    for a, b in zip(maps, others, strict=True):
        np.testing.assert_array_equal(a, b)


def undistorted(K, D, size, fisheye=False):
    compute = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
    K = np.array(K, float).reshape(3, 3)
    return compute(K, np.array(D, float), np.eye(3), K, size, cv2.CV_16SC2)


@pytest.mark.parametrize(
    ("d", "fisheye", "model"),
    [
        (D, 0, "plumb_bob"),
        (D[:4], 0, "plumb_bob"),
        ([*D, 0.1, 0.2, 0.3], 0, "rational_polynomial"),
        (D + [0.0] * 9, 0, "rational_polynomial"),
        ([0.05, -0.01, 0.002, -0.0005], 1, "equidistant"),
    ],
)
def test_opencv(tmp_path, d, fisheye, model):
    """%YAML:1.0 and !!opencv-matrix are no YAML by the standard."""
    found = read_camera_info(written(tmp_path, OPENCV.format(fisheye=fisheye, count=len(d), data=d)))
    assert round(found.camera.fu, 2) == 721.54 and (found.camera.width, found.camera.height) == (1242, 375)
    assert_equal(found.maps, undistorted(K, d, (1242, 375), bool(fisheye)))
    assert model in found.source


def test_numbers_without_commas(tmp_path):
    """As camera_calibration of ROS Kinetic wrote them (image_pipeline 533)."""
    text = OPENCV.format(fisheye=0, count=5, data=D).replace(str(D), "[-0.3 0.1 0.001 -0.002 0.01]")
    assert_equal(read_camera_info(written(tmp_path, text)).maps, undistorted(K, D, (1242, 375)))


def test_old_opencv_keys(tmp_path):
    text = OPENCV.format(fisheye=0, count=5, data=D).replace("camera_matrix", "Camera_Matrix")
    text = text.replace("distortion_coefficients", "Distortion_Coefficients").replace("image_width", "image_Width")
    assert read_camera_info(written(tmp_path, text)).maps is not None


@pytest.mark.parametrize("binning", [0, 1, 2, 4])
def test_topic_echo_with_binning(tmp_path, binning):
    found = read_camera_info(written(tmp_path, ECHO.format(binning=binning, left=0, width=0, height=0)))
    factor = max(1, binning)
    assert (found.camera.width, found.camera.height) == (1242 // factor, 375 // factor)
    assert found.camera.fu == pytest.approx(721.5377 / factor, rel=2e-3)
    assert binning != 2 or round(found.camera.fu, 2) == 360.77


def test_topic_echo_with_a_region(tmp_path):
    found = read_camera_info(written(tmp_path, ECHO.format(binning=1, left=400, width=500, height=300)))
    assert (found.camera.width, found.camera.height) == (500, 300)
    assert found.camera.P[0, 2] == pytest.approx(209.5593) and found.camera.P[1, 2] == pytest.approx(172.854)
    with pytest.raises(CalibrationError, match=r"'roi' 500x300 at .900, 0. lies outside"):
        read_camera_info(written(tmp_path, ECHO.format(binning=1, left=900, width=500, height=300)))


@pytest.mark.parametrize(("distortion", "fisheye"), [("radtan", False), ("equidistant", True)])
def test_kalibr(tmp_path, distortion, fisheye):
    found = read_camera_info(written(tmp_path, KALIBR.format(camera="pinhole", distortion=distortion)))
    assert (found.camera.fu, found.camera.fv, found.camera.width) == (458.654, 457.296, 752)
    K = [458.654, 0, 367.215, 0, 457.296, 248.375, 0, 0, 1]
    assert_equal(found.maps, undistorted(K, [-0.01, 0.02, -0.003, 0.0004], (752, 480), fisheye))


def test_euroc(tmp_path):
    found = read_camera_info(written(tmp_path, EUROC, "sensor.yaml"))
    assert (found.camera.fu, found.camera.P[1, 2], found.camera.height) == (458.654, 248.375, 480)
    assert found.maps is not None and "plumb_bob" in found.source


ORB_SLAM = """%YAML:1.0

#--------------------------------------------------------------------------------------------
# Camera Parameters. Adjust them!
Camera.type: "{kind}"
Camera.fx: 718.856
Camera.fy: 718.9
Camera.cx: 607.1928
Camera.cy: 185.2157

Camera.k1: 0.1
Camera.k2: -0.2
{more}
Camera.width: 1241
Camera.height: 376
Camera.fps: 10.0
LEFT.D: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data:[-0.1, 0.2, 0.3, 0.4, 0.5]
ThDepth: 35
"""
TANGENTIAL = "Camera.p1: 0.001\nCamera.p2: 0.002"


@pytest.mark.parametrize(
    ("text", "d", "fisheye"),
    [
        (ORB_SLAM.format(kind="PinHole", more=TANGENTIAL), [0.1, -0.2, 0.001, 0.002], False),
        (ORB_SLAM.format(kind="PinHole", more=TANGENTIAL + "\nCamera.k3: 0.3"), [0.1, -0.2, 0.001, 0.002, 0.3], False),
        (ORB_SLAM.format(kind="KannalaBrandt8", more="Camera.k3: 3e-2\nCamera.k4: 0."), [0.1, -0.2, 0.03, 0], True),
        # ORB_SLAM3's version 1.0 and stella_vslam
        (ORB_SLAM.replace("Camera.", "Camera1.").format(kind="PinHole", more=""), [0.1, -0.2, 0, 0], False),
        ("Camera:\n  model: fisheye\n  cols: 1241\n  rows: 376\n  fx: 718.856\n  fy: 718.9\n  cx: 607.1928\n"
         "  cy: 185.2157\n  k1: 0.1\n  k2: -0.2\n  k3: 0.03\n  k4: 0.01\n", [0.1, -0.2, 0.03, 0.01], True),
    ],
)  # fmt: skip
def test_orb_slam_settings_are_named_with_what_to_write_instead(tmp_path, text, d, fisheye):
    path = written(tmp_path, text)
    with pytest.raises(CalibrationError, match="a settings file of ORB-SLAM") as caught:
        read_camera_info(path)
    said = str(caught.value)
    path.write_text(said.partition("a key a line: ")[2].replace("; ", "\n"))
    found = read_camera_info(path)
    K = [718.856, 0, 607.1928, 0, 718.9, 185.2157, 0, 0, 1]
    assert (found.camera.width, found.camera.height) == (1241, 376)
    assert_equal(found.maps, undistorted(K, d, (1241, 376), fisheye))


EQUIDISTANT = ("equidistant", "fisheye", "KANNALA_BRANDT")
NO_MODEL = EUROC.replace("distortion_model: radial-tangential\n", "")


@pytest.mark.parametrize(
    "text", [NO_MODEL.replace("pinhole", name) for name in ("equidistant", "fisheye", "KANNALA_BRANDT")]
)
def test_an_equidistant_camera_is_never_plumb_bob(tmp_path, text):
    found = read_camera_info(written(tmp_path, text))
    assert "equidistant" in found.source
    d = [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
    K = [458.654, 0, 367.215, 0, 457.296, 248.375, 0, 0, 1]
    assert_equal(found.maps, undistorted(K, d, (752, 480), True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (EUROC.replace("pinhole", "equidistant"), "'distortion_model' says radial-tangential but 'camera_model' says"),
        (KALIBR.format(camera="omni", distortion="radtan"), "camera_model 'omni' is no pinhole"),
        (KALIBR.format(camera="ds", distortion="none"), "camera_model 'ds' is no pinhole"),
        (KALIBR.format(camera="pinhole", distortion="fov"), "distortion model 'fov' is not one of"),
        (KALIBR.format(camera="pinhole", distortion="radtan") * 2, None),
        (EUROC.replace("resolution: [752, 480]", ""), "'resolution' .* are needed"),
        (EUROC.replace("[458.654, 457.296, 367.215, 248.375]", "[0.9, 458.654, 457.296, 367.215, 248.375]"), "needed"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path, text, words):
    if words is None:
        text, words = text.replace("cam0:", "cam1:", 1), "2 cameras .cam1, cam0.: keep that of these images"
    with pytest.raises(CalibrationError, match=words) as caught:
        read_camera_info(written(tmp_path, text))
    assert "\n" not in str(caught.value)


ROS = """image_width: 640
image_height: 480
camera_name: usb_cam
camera_matrix:
  rows: 3
  cols: 3
  data: [357, 0, 329, 0, 357, 240, 0, 0, 1]
distortion_model: {model}
distortion_coefficients:
  rows: 1
  cols: {count}
  data: {data}
projection_matrix:
  rows: 3
  cols: 4
  data: [357, 0, 329, 0, 0, 357, 240, 0, 0, 0, 1, 0]
"""


@pytest.mark.parametrize(
    ("text", "maps"),
    [
        (ROS.format(model="radtan", count=4, data="[0.0122, 0.0097, 0.0052, 0.0009]"), True),  # kalibr 510
        (ROS.format(model="plumb_bob", count=0, data="[]"), False),
        (ROS.format(model="none", count=5, data="[0, 0, 0, 0, 0]"), False),
        (ROS.format(model="plumb_bob", count=5, data="[-0.28, .07, 1.9e-4, 1.76e-05, 0.]"), True),
        (ROS.format(model="rational_polynomial", count=8, data=[0.0] * 8), False),
        (ROS.format(model="fisheye", count=4, data="[0.05, -0.01, 0.002, -0.0005]").replace("\n", "\n\n"), True),
        ("# of a robot\n---\n" + ROS.format(model="plumb_bob", count=5, data=D) + "---\n", True),
        (ROS.format(model="plumb_bob", count=5, data=D).replace("image_", ""), True),
        ("image_width: 640\nimage_height: 480\ncamera_matrix: [[357, 0, 329], [0, 357, 240], [0, 0, 1]]\n", False),
    ],
)
def test_variants_of_camera_info(tmp_path, text, maps):
    found = read_camera_info(written(tmp_path, text))
    assert (found.camera.fu, found.camera.P[0, 2], found.camera.width, found.camera.height) == (357, 329, 640, 480)
    assert (found.maps is not None) == maps


def test_topic_echo_of_ros_1(tmp_path):
    """With capitals, and flow lists (ensenso ros_driver 59)."""
    text = (
        "header:\n  seq: 1\n  stamp:\n    secs: 0\n    nsecs: 0\n  frame_id: cam\nheight: 480\nwidth: 640\n"
        'distortion_model: "plumb_bob"\nD: [0.0, 0.0, 0.0, 0.0, 0.0]\nK: [357.0, 0.0, 329.0, 0.0, 357.0, 240.0,'
        " 0.0, 0.0, 1.0]\nbinning_x: 0\nroi:\n  x_offset: 0\n  y_offset: 0\n  height: 0\n  width: 0\n---\n"
    )
    assert read_camera_info(written(tmp_path, text)).camera.fu == 357


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("D = [-0.01, 0.006, -0.0004, -0.001, 0.0]\nK = [700, 0, 320, 0, 700, 240, 0, 0, 1]\n", "image_width"),
        ("# oST version 5.0 parameters\n[image]\nwidth\n640\n[narrow_stereo]\n", "not YAML|image_width"),
        ("image_width: 640\nimage_height: 480\ncamera_matrix: [357, 329, 357, 240]\n", "needs 9 finite numbers"),
        ("image_width: 640\nimage_height: 480\ncamera_matrix: [a, b]\n", "list of numbers"),
        ("image_width: 640.5\nimage_height: 480\ncamera_matrix: [1]\n", "whole numbers"),
        ("", "not a camera_info file"),
    ],
)
def test_what_is_no_calibration_is_refused_by_name(tmp_path, text, words):
    path = tmp_path / "camera.yaml"  # tiscamera 280: lines of Python; usb_cam 335, redtail 52
    path.write_text(text)
    with pytest.raises(CalibrationError, match=words) as caught:
        read_camera_info(path)
    assert "camera.yaml" in str(caught.value) and "\n" not in str(caught.value)
