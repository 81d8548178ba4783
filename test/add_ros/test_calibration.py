"""CameraInfo to Camera: which matrix counts, regions and binning, and undistortion against its definition."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from add_ros.calibration import Calibrator
from add_ros.errors import FrameRejectedError

WIDTH, HEIGHT = 640, 480
K = np.array([[500.0, 0, 310], [0, 510, 250], [0, 0, 1]])
P = np.array([[400.0, 0, 300, 40], [0, 410, 240, 0.2], [0, 0, 1, 0.003]])
PLUMB_BOB = [-0.3, 0.1, 0.001, -0.002, 0.01]


def info(**changes) -> CameraInfo:
    values = {"width": WIDTH, "height": HEIGHT, "distortion_model": "plumb_bob", "d": [0.0] * 5}
    return CameraInfo(**(values | {"k": K.ravel(), "p": P.ravel()} | changes))


def calibrate(message, topic="/camera/image", rectification="auto", size=(WIDTH, HEIGHT)):
    return Calibrator(rectification, topic)(message, *size)


@pytest.mark.parametrize(
    ("topic", "rectification", "d", "matrix"),
    [
        ("/cam/image_rect", "auto", PLUMB_BOB, P),
        ("/cam/image_rect_color/compressed", "auto", PLUMB_BOB, P),
        ("/cam/left_rectified", "auto", PLUMB_BOB, P),
        ("/cam/image_unrectified", "auto", PLUMB_BOB, K),
        ("/cam/image_corrected", "auto", PLUMB_BOB, K),
        ("/cam/image_raw", "auto", [], K),
        ("/cam/image_raw", "auto", PLUMB_BOB, K),
        ("/raw/image", "auto", [0.0] * 5, P),
        ("/cam/image", "auto", PLUMB_BOB, K),
        ("/cam/image_raw", "rectified", PLUMB_BOB, P),
        ("/cam/image_rect", "raw", PLUMB_BOB, K),
    ],
)
def test_which_matrix_counts(topic, rectification, d, matrix):
    result = calibrate(info(d=d), topic, rectification)
    np.testing.assert_array_equal(result.camera.P, np.hstack([matrix[:, :3], np.zeros((3, 1))]))
    assert (result.maps is not None) == (matrix is K and len(d) > 0)


def test_a_rectified_camera_without_p_uses_k():
    result = calibrate(info(p=np.zeros(12)), "/cam/image_rect")
    np.testing.assert_array_equal(result.camera.P[:, :3], K)


def test_region_and_binning_follow_the_pixels():
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300)
    result = calibrate(info(roi=roi, binning_x=2, binning_y=2), size=(200, 150))
    point = np.array([1.0, -0.5, 9.0])
    full = calibrate(info()).camera.project(point)[:2]
    # Pixel centres are integers: binned pixel u covers full pixels 2u and 2u + 1 of the region.
    np.testing.assert_allclose(result.camera.project(point)[:2], (full - (100, 40) - 0.5) / 2)


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", PLUMB_BOB),
        ("plumb_bob", PLUMB_BOB[:4]),
        ("rational_polynomial", [0.9, -0.1, 0.001, 0.002, 0.01, 0.25, -0.05, 0.02]),
        ("equidistant", [0.05, -0.01, 0.002, -0.0005]),
    ],
)
def test_undistorted_points_sit_where_the_camera_projects_them(model, d):
    """A dot drawn where the distorted lens sees a point is where the ideal camera sees it after undistortion."""
    calibration = calibrate(info(distortion_model=model, d=d), "/cam/image_raw")
    points = np.array([[[-1.0, -0.6, 3.0]], [[0.9, 0.5, 3.0]], [[0.2, -0.7, 3.0]]])
    if model == "equidistant":
        seen, _ = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(d))
    else:
        seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(d))
    for point, dot in zip(points[:, 0], seen.reshape(-1, 2), strict=True):
        v, u = np.mgrid[:HEIGHT, :WIDTH]
        blob = 255 * np.exp(-((u - dot[0]) ** 2 + (v - dot[1]) ** 2) / 18)
        weights = calibration.rectify(np.repeat(blob[..., None], 3, axis=2).astype(np.uint8))[..., 0].astype(float)
        found = np.array([(u * weights).sum(), (v * weights).sum()]) / weights.sum()
        np.testing.assert_allclose(found, calibration.camera.project(point)[:2], atol=0.6)
        assert np.abs(dot - found).max() > 1, "the distortion does something here"


def test_maps_are_computed_once_for_each_camera_info():
    calibrator = Calibrator("auto", "/cam/image_raw")
    first = calibrator(info(d=PLUMB_BOB), WIDTH, HEIGHT)
    assert calibrator(info(d=PLUMB_BOB), WIDTH, HEIGHT) is first
    assert calibrator(info(d=PLUMB_BOB, k=(K * [[1.01], [1], [1]]).ravel()), WIDTH, HEIGHT) is not first
    assert calibrator(info(d=[0.1, *PLUMB_BOB[1:]]), WIDTH, HEIGHT) is not first


@pytest.mark.parametrize("topic", ["/cam/image", "/cam/image_raw"])
def test_a_fisheye_without_coefficients_is_no_pinhole(topic):
    """Equidistant with D = 0 is r = f theta, not r = f tan(theta)."""
    calibration = calibrate(info(distortion_model="equidistant", d=[0.0] * 4), topic)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    dot = K[0, 2] + 500 * np.arctan(0.5)
    blob = 255 * np.exp(-((u - dot) ** 2 + (v - K[1, 2]) ** 2) / 18)
    weights = calibration.rectify(np.repeat(blob[..., None], 3, axis=2).astype(np.uint8))[..., 0].astype(float)
    np.testing.assert_allclose((u * weights).sum() / weights.sum(), K[0, 2] + 500 * 0.5, atol=0.6)


def test_a_rectified_fisheye_image_is_left_alone():
    result = calibrate(info(distortion_model="equidistant", d=[0.0] * 4), "/cam/image_rect")
    assert result.maps is None
    np.testing.assert_array_equal(result.camera.P[:, :3], P[:, :3])


def test_the_narrowest_and_widest_lenses_in_use_are_taken():
    for focal in (0.05 * WIDTH, 60 * WIDTH):
        assert calibrate(info(p=(P * [[focal / 400], [focal / 410], [1]]).ravel())).camera.fu == pytest.approx(focal)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"k": np.zeros(9)}, "uncalibrated", "K[0]"),
        ({"k": np.zeros(9), "p": np.zeros(12)}, "uncalibrated", "not calibrated"),
        ({"width": 1280}, "size mismatch", "1280x480"),
        ({"width": 0, "height": 0}, "size mismatch", "0x0"),
        ({"binning_x": 2, "binning_y": 2}, "size mismatch", "320x240"),
        ({"roi": RegionOfInterest(width=100, height=50)}, "size mismatch", "100x50"),
        ({"d": PLUMB_BOB, "distortion_model": "kannala"}, "unsupported distortion", "'kannala'"),
        ({"d": PLUMB_BOB, "distortion_model": ""}, "unsupported distortion", "''"),
        ({"d": [0.1, 0.2]}, "invalid camera_info", "4 or 5"),
        ({"d": [np.nan, 0.0, 0.0, 0.0]}, "invalid camera_info", "finite"),
        ({"p": -P.ravel(), "d": []}, "invalid camera_info", "last row"),
        ({"p": (P * [[-1], [1], [1]]).ravel(), "d": []}, "invalid camera_info", "focal"),
        ({"p": np.full(12, np.nan), "d": []}, "invalid camera_info", "P"),
        ({"p": (P * [[1], [1], [0]]).ravel()}, "invalid camera_info", "0 0 1"),
        # A focal length near zero asks for a canvas half a million pixels wide.
        ({"p": (P * [[1e-6, 1, 1, 1], [1] * 4, [1] * 4]).ravel()}, "invalid camera_info", "no lens"),
        ({"p": (P * 1e300 + [[0] * 4, [0] * 4, [0, 0, 1, 0]]).ravel()}, "invalid camera_info", "0 0 1"),
        ({"p": (P * [[1e300], [1e300], [1]]).ravel()}, "invalid camera_info", "no lens"),
        ({"p": (P * [[1, 1, 1e300, 1], [1] * 4, [1] * 4]).ravel()}, "invalid camera_info", "no lens"),
        ({"roi": RegionOfInterest(x_offset=2000, width=WIDTH, height=HEIGHT)}, "invalid camera_info", "(2000, 0)"),
        ({"roi": RegionOfInterest(y_offset=1)}, "invalid camera_info", "(0, 1)"),
    ],
)
def test_unusable_camera_infos_are_refused_in_one_sentence(changes, reason, words):
    with pytest.raises(FrameRejectedError) as caught:
        calibrate(info(**changes))
    assert caught.value.reason == reason
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_refused_camera_info_does_not_stick():
    calibrator = Calibrator("auto", "/cam/image")
    good = calibrator(info(), WIDTH, HEIGHT)
    with pytest.raises(FrameRejectedError):
        calibrator(info(k=np.zeros(9)), WIDTH, HEIGHT)
    np.testing.assert_array_equal(calibrator(info(), WIDTH, HEIGHT).camera.P, good.camera.P)
