"""CameraInfo to Camera: which matrix counts, regions and binning, and undistortion against its definition."""

from contextlib import suppress

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


@pytest.mark.parametrize(
    ("topic", "rectification"),
    [("/cam/image_raw", "rectified"), ("/kitti/camera_color_left/image_rect", "auto"), ("/c/i", "auto")],
)
def test_a_rectified_camera_without_k_uses_p(topic, rectification):
    """KITTI odometry as kitti2bag writes it has P only."""
    message = info(k=np.zeros(9), d=[], distortion_model="")
    result = calibrate(message, topic, rectification)
    np.testing.assert_array_equal(result.camera.P[:, :3], P[:, :3])
    with pytest.raises(FrameRejectedError, match="set the parameter rectification to rectified"):
        calibrate(message, "/cam/image_raw", "raw")


def test_of_k_and_p_the_first_focal_length_says_whether_it_is_there():
    """A principal point or a baseline of 0 says nothing."""
    k = K * [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    np.testing.assert_array_equal(calibrate(info(k=k.ravel(), p=np.zeros(12))).camera.P[:, :3], k)
    p = P * [[1, 1, 1, 0], [1] * 4, [1] * 4]
    np.testing.assert_array_equal(calibrate(info(k=np.zeros(9), p=p.ravel())).camera.P[:, :3], P[:, :3])


# camera 02 of KITTI's 2011_09_26
KITTI_K = np.array([[959.791, 0, 696.0217], [0, 956.9251, 224.1806], [0, 0, 1]])
KITTI_D = [-0.3691481, 0.1968681, 0.001353473, 0.0005677587, -0.06770705]
KITTI_P = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0.002745884]])


@pytest.mark.parametrize(
    ("topic", "size", "rectification", "matrix"),
    [
        ("/kitti/camera_color_left/image_raw", (1242, 375), "auto", KITTI_P),
        ("/kitti/camera_gray_right/image_raw/compressed", (1242, 375), "auto", KITTI_P),
        ("/robot/kitti/camera_color_left/image", (1242, 375), "auto", KITTI_P),
        ("/kitti/camera_color_left/image_raw", (1392, 512), "auto", KITTI_K),  # the unrectified recording
        ("/kitti/camera_color_left/image_raw", (1242, 375), "raw", KITTI_K),
        ("/front/camera_color_left/image_raw", (1242, 375), "auto", KITTI_K),
    ],
)
def test_kitti2bag_calls_rectified_images_raw(topic, size, rectification, matrix):
    message = info(k=KITTI_K.ravel(), d=KITTI_D, p=KITTI_P.ravel(), width=size[0], height=size[1])
    result = calibrate(message, topic, rectification, size)
    np.testing.assert_array_equal(result.camera.P[:, :3], matrix[:, :3])
    assert (result.maps is None) == (matrix is KITTI_P)
    assert ("kitti2bag" in result.source) == (matrix is KITTI_P)


HALF = np.diag([0.5, 0.5, 1])


@pytest.mark.parametrize(
    ("k", "size", "binning", "words"),
    [
        (HALF @ KITTI_P[:, :3], (1242, 375), 1, ["304.78, 86.43", "2 times its first two rows", "2 times as far"]),
        (np.diag([2, 2, 1]) @ KITTI_P[:, :3], (1242, 375), 1, ["0.5 times its first two rows"]),
        # binned 4 times in the matrix already (image_pipeline 736)
        ([[300, 0, 254.1], [0, 300, 184], [0, 0, 1]], (2064, 1544), 4, ["4 times its first two rows"]),
        (KITTI_P[:, :3] * [[1, 1, 0], [1, 1, 0], [1, 1, 1]], (1242, 375), 1, ["0.00, 0.00", "half the image's size"]),
        (np.diag([1, 0.5, 1]) @ [[500, 0, 320], [0, 500, 480], [0, 0, 1]], (640, 480), 1, ["2 times the second row"]),
        (np.diag([0.5, 1, 1]) @ [[500, 0, 640], [0, 500, 240], [0, 0, 1]], (640, 480), 1, ["2 times the first row"]),
        ([[50, 0, 320], [0, 50, 240], [0, 0, 1]], (640, 480), 1, ["field of view would be 162 degrees"]),
        ([[9000, 0, 320], [0, 9000, 240], [0, 0, 1]], (640, 480), 1, ["field of view would be 4 degrees"]),
        ([[500, 0, 320], [0, 500, 40], [0, 0, 1]], (640, 480), 1, ["cropped"]),
    ],
)  # fmt: skip
def test_intrinsics_that_can_hardly_be_are_doubted(k, size, binning, words):
    k = np.array(k)
    message = info(k=k.ravel(), width=size[0], height=size[1], binning_x=binning, binning_y=binning)
    result = calibrate(message, "/cam/image_raw", size=(size[0] // binning, size[1] // binning))
    assert result.doubt and "\n" not in result.doubt
    assert all(word in result.doubt for word in words), result.doubt


@pytest.mark.parametrize(
    ("k", "size"),
    [
        (K, (WIDTH, HEIGHT)),
        (KITTI_P[:, :3], (1242, 375)),
        (KITTI_P[:, :3], (1224, 370)),
        (KITTI_K, (1392, 512)),
        ([[604.9, 0, 636.9], [0, 604.9, 367.5], [0, 0, 1]], (1280, 720)),  # Azure Kinect
        ([[458.654, 0, 367.215], [0, 457.296, 248.375], [0, 0, 1]], (752, 480)),  # EuRoC
        ([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]], (1600, 900)),  # nuScenes
        ([[285.6, 0, 422.5], [0, 285.8, 398.6], [0, 0, 1]], (848, 800)),  # RealSense T265
        ([[2055.6, 0, 939.7], [0, 2055.6, 641.1], [0, 0, 1]], (1920, 1280)),  # Waymo
        ([[20000, 0, 2000], [0, 20000, 1500], [0, 0, 1]], (4000, 3000)),  # a telephoto lens
    ],
)
def test_cameras_that_there_are_are_not_doubted(k, size):
    assert calibrate(info(k=np.ravel(k), width=size[0], height=size[1]), "/cam/image_raw", size=size).doubt is None


@pytest.mark.parametrize(
    ("model", "short", "long"),
    [
        ("plumb_bob", PLUMB_BOB, [*PLUMB_BOB, 0, 0, 0]),
        ("plumb_bob", PLUMB_BOB, PLUMB_BOB + [0] * 9),
        ("plumb_bob", [-0.3, 0.1, 0.0, 0.0], [-0.3, 0.1] + [0] * 12),
        ("equidistant", [0.05, -0.01, 0.002, -0.0005], [0.05, -0.01, 0.002, -0.0005, 0]),
        ("equidistant", [0.05, -0.01, 0.002, -0.0005], [0.05, -0.01, 0.002, -0.0005] + [0] * 10),
        ("equidistant", [0.0] * 4, [0.0] * 8),
        ("rational_polynomial", [*PLUMB_BOB, 0, 0, 0], PLUMB_BOB),
        ("rational_polynomial", [*PLUMB_BOB[:4], 0, 0, 0, 0], PLUMB_BOB[:4]),
        ("rational_polynomial", [*PLUMB_BOB, 0.1, 0.2, 0.3], [*PLUMB_BOB, 0.1, 0.2, 0.3, 0, 0, 0]),
    ],
)
def test_zeros_behind_the_coefficients_change_nothing(model, short, long):
    maps = [calibrate(info(distortion_model=model, d=np.array(d, float)), "/c/image_raw").maps for d in (short, long)]
    for one, other in zip(*maps, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", [*PLUMB_BOB, 0.1, 0.2, 0.3]),
        ("plumb_bob", [*PLUMB_BOB, 0, 0, 0.3]),
        ("equidistant", [0.05, -0.01, 0.002, -0.0005, 0.1]),
        ("equidistant", [0.05]),
        ("rational_polynomial", [0.1] * 15),
    ],
)
def test_coefficients_that_a_model_does_not_have_are_refused(model, d):
    with pytest.raises(FrameRejectedError, match=f"{model} needs"):
        calibrate(info(distortion_model=model, d=d), "/c/image_raw")


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
        ({"k": np.zeros(9), "d": PLUMB_BOB}, "uncalibrated", "K[0] is 0 and only P is there"),
        ({"k": np.zeros(9), "p": np.zeros(12)}, "uncalibrated", "not calibrated"),
        ({"width": 1280}, "size mismatch", "1280x480"),
        ({"width": 0, "height": 0}, "size mismatch", "gives no size (0x0)"),
        ({"width": 1280, "height": 960}, "size mismatch", "it was resized by 0.5, and so must K and P be"),
        ({"binning_x": 2, "binning_y": 2}, "size mismatch", "320x240"),
        ({"roi": RegionOfInterest(width=100, height=50)}, "size mismatch", "100x50"),
        ({"d": PLUMB_BOB, "distortion_model": "kannala"}, "unsupported distortion", "'kannala'"),
        ({"d": PLUMB_BOB, "distortion_model": ""}, "unsupported distortion", "''"),
        ({"d": [0.1, 0.2]}, "invalid camera_info", "4 or 5"),
        ({"d": [np.nan, 0.0, 0.0, 0.0]}, "invalid camera_info", "finite"),
        ({"d": [100, -1e4, 0, 0, 1e6]}, "invalid camera_info", "D [100.0, -10000.0, 0.0, 0.0, 1000000.0] of plumb_bob"),
        ({"d": [1e30, 1e30, 0, 0, 1e30]}, "invalid camera_info", "from 0% of the image's radius"),
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
        calibrator(info(k=np.zeros(9), p=np.zeros(12)), WIDTH, HEIGHT)
    np.testing.assert_array_equal(calibrator(info(), WIDTH, HEIGHT).camera.P, good.camera.P)


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("rational_polynomial", [0.0] * 8),  # image_pipeline 154: a calibration that failed
        ("plumb_bob", []),  # realsense-ros 2640: Gazebo
        ("", []),
        ("none", []),  # Kalibr's word
        ("none", [0.0] * 5),
        ("brown_conrady", [0.0] * 5),
    ],
)
def test_a_lens_that_does_not_distort_may_have_any_model(model, d):
    result = calibrate(info(distortion_model=model, d=d), "/c/image_raw")
    assert result.maps is None and result.source.startswith("K, raw without distortion")


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("equidistant", [-0.006, 0.045, -0.0425, 0.0078, 0.0]),  # realsense-ros 1989: T265 with a fifth
        ("rational_polynomial", [0.78, -2.98, 0.0007, 0.00006, 1.7, 0.66, -2.81, 1.63]),  # Azure Kinect, depthai-ros 54
        ("plumb_bob", [-0.0306, 0.0352, -0.0001, -0.0001, -0.012, 0.0, 0.0, 0.0]),  # OrbbecSDK_ROS2 216
        ("plumb_bob", [-0.0978, 0.0809, -0.0037, 0.002]),  # aruco_ros 130: four
    ],
)
def test_coefficients_of_drivers_there_are(model, d):
    used = {"equidistant": 4, "plumb_bob": 5}.get(model, 8)
    own = (d + [0.0] * used)[: max(4, min(used, len(d)))]
    assert calibrate(info(distortion_model=model, d=d), "/c/image_raw").maps is not None
    maps = [calibrate(info(distortion_model=model, d=x), "/c/image_raw").maps for x in (d, own)]
    for one, other in zip(*maps, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("radtan", PLUMB_BOB[:4]),  # kalibr 510
        ("Brown Conrady", PLUMB_BOB),
        ("", PLUMB_BOB),
        ("kannala_brandt4", PLUMB_BOB[:4]),
        ("thin_prism_fisheye", [0.1] * 12),
    ],
)
def test_models_of_other_names_are_refused_by_name(model, d):
    with pytest.raises(FrameRejectedError, match=f"distortion model '{model}' is not one of plumb_bob") as caught:
        calibrate(info(distortion_model=model, d=d), "/c/image_raw")
    assert caught.value.reason == "unsupported distortion" and "rectification" in str(caught.value)


# 6
@pytest.mark.parametrize(
    ("changes", "topic", "matrix"),
    [
        ({"k": np.eye(3).ravel()}, "/depth/image", P),  # ensenso ros_driver 59: K is never filled in
        ({"p": np.zeros(12), "d": PLUMB_BOB}, "/cam/image_rect", K),  # lsd_slam PR 12
        ({"p": np.hstack([K, np.zeros((3, 1))]).ravel(), "d": PLUMB_BOB}, "/rgb/image_raw", K),  # Azure Kinect 44
        ({"p": np.hstack([K, np.zeros((3, 1))]).ravel()}, "/zed2/zed_node/rgb/image_rect_color", K),  # zed 594
        ({"k": P[:, :3].ravel(), "d": PLUMB_BOB}, "/left/image_rect_color/compressed", P),
        ({"r": [0.0] * 9}, "/cam/image", P),
    ],
)
def test_calibrations_of_drivers_there_are(changes, topic, matrix):
    result = calibrate(info(**changes), topic)
    np.testing.assert_array_equal(result.camera.P[:, :3], matrix[:, :3])


def test_a_matrix_that_was_never_filled_in_is_refused_for_raw_images():
    with pytest.raises(FrameRejectedError, match="no lens makes a 640x480 image so"):
        calibrate(info(k=np.eye(3).ravel(), d=PLUMB_BOB), "/depth/image_raw")


# 12
@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"width": 0, "height": 0}, "size mismatch", "gives no size .0x0."),  # gscam 103
        ({"width": 0}, "size mismatch", "gives no size .0x480."),
        (
            {"width": 0, "height": 0, "k": np.zeros(9), "p": np.zeros(12)},
            "uncalibrated",
            "not calibrated",
        ),  # usb_cam 26
        ({"k": np.zeros(9), "p": np.zeros(12)}, "uncalibrated", "not calibrated"),
        ({"width": 480, "height": 640}, "size mismatch", "describes 480x640"),
        ({"width": 1280, "height": 960}, "size mismatch", "resized by 0.5"),
    ],
)
def test_a_driver_without_a_calibration_is_named(changes, reason, words):
    with pytest.raises(FrameRejectedError, match=words) as caught:
        calibrate(info(**changes))
    assert caught.value.reason == reason


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("share", "centre", "taken"),
    [(0.0099, 0.5, False), (0.0101, 0.5, True), (999.9, 0.5, True), (1000.1, 0.5, False), (1, 999.9, True),
     (1, 1000.1, False), (1, -999.9, True), (1, -1000.1, False)],
)  # fmt: skip
def test_focal_lengths_and_centres_that_no_lens_has_are_refused(axis, share, centre, taken):
    """Of each side of the image: 0.01 to 1000 sides, and a principal point within 1000."""
    k, side = K.copy(), (WIDTH, HEIGHT)[axis]
    k[axis, axis], k[axis, 2] = share * side, centre * side
    message = info(k=k.ravel())
    if taken:
        np.testing.assert_array_equal(calibrate(message, "/c/image_raw").camera.P[:, :3], k)
    else:
        with pytest.raises(FrameRejectedError, match="no lens makes a 640x480 image so") as caught:
            calibrate(message, "/c/image_raw")
        assert f"focal lengths {k[0, 0]:g}, {k[1, 1]:g} and principal point {k[0, 2]:g}, {k[1, 2]:g}" in str(
            caught.value
        )


@pytest.mark.parametrize(("off", "taken"), [(5e-7, True), (2e-5, False)])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_last_row_may_be_rounded(off, taken, column):
    k = K.copy()
    k[2, column] += off
    if taken:
        calibrate(info(k=k.ravel()), "/c/image_raw")
    else:
        with pytest.raises(FrameRejectedError, match="the last row of K must be 0 0 1, got ") as caught:
            calibrate(info(k=k.ravel()), "/c/image_raw")
        np.testing.assert_allclose(np.fromstring(str(caught.value).split("[")[1].rstrip("]"), sep=" "), k[2])


ROI = {"x_offset": 240, "y_offset": 180, "width": 400, "height": 300}  # in the lower right corner


@pytest.mark.parametrize(
    ("change", "inside"),
    [({}, True), ({"x_offset": 241}, False), ({"y_offset": 181}, False), ({"x_offset": 239, "y_offset": 179}, True)],
)
def test_regions_reach_to_the_edge(change, inside):
    roi = ROI | change
    message = info(roi=RegionOfInterest(**roi))
    if inside:
        camera = calibrate(message, "/c/image_raw", size=(400, 300)).camera
        np.testing.assert_allclose(camera.P[:2, 2], K[:2, 2] - (roi["x_offset"], roi["y_offset"]))
    else:
        with pytest.raises(
            FrameRejectedError, match=r"400x300 at \(24., 18.\) does not lie inside the camera_info's 640x480"
        ):
            calibrate(message, "/c/image_raw", size=(400, 300))


@pytest.mark.parametrize(
    ("changes", "size", "words", "unsaid"),
    [
        ({}, (320, 240), "describes 640x480 (640x480): they", ", binning"),
        ({}, (320, 240), "it was resized by 0.5, and so must K and P be", "region"),
        ({}, (320, 236), "it was resized by 0.5, and", "region"),  # sides are rounded
        ({}, (320, 234), "same camera and resolution", "resized"),
        ({}, (640, 360), "same camera and resolution", "resized"),
        ({"binning_x": 2, "binning_y": 1}, (640, 480), "320x480 (640x480, binning 2x1)", "region"),
        ({"binning_x": 1, "binning_y": 3}, (640, 480), "640x160 (640x480, binning 1x3)", "region"),
        ({"binning_x": 1, "binning_y": 1}, (80, 480), "(640x480): they", "binning"),
        ({"roi": RegionOfInterest(width=100)}, (640, 480), "100x480 (640x480, region of interest 100x0)", "binning"),
        ({"roi": RegionOfInterest(height=90)}, (640, 480), "640x90 (640x480, region of interest 0x90)", "binning"),
    ],
)
def test_sizes_that_differ_are_told_with_what_made_them(changes, size, words, unsaid):
    with pytest.raises(FrameRejectedError) as caught:
        calibrate(info(**changes), size=size)
    assert caught.value.reason == "size mismatch"
    assert words in str(caught.value) and unsaid not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 641}, {"height": 481}, {"p": (P * 2).ravel()}, {"k": (K + np.eye(3)).ravel()},
        {"distortion_model": "rational_polynomial", "d": [0.1] * 8}, {"d": [0.1, *PLUMB_BOB[1:]]},
        {"roi": RegionOfInterest(x_offset=1, width=640, height=480)},
        {"roi": RegionOfInterest(y_offset=1, width=640, height=480)},
        {"roi": RegionOfInterest(width=320)}, {"roi": RegionOfInterest(height=240)}, {"binning_x": 2}, {"binning_y": 2},
    ],
)  # fmt: skip
def test_whatever_changes_is_calibrated_anew(changes):
    calibrator = Calibrator("auto", "/cam/image_raw")
    first = calibrator(info(d=PLUMB_BOB), WIDTH, HEIGHT)
    with suppress(FrameRejectedError):  # of another size: told, not passed over
        assert calibrator(info(**({"d": PLUMB_BOB} | changes)), WIDTH, HEIGHT) is not first
    assert calibrator(info(d=PLUMB_BOB), WIDTH, HEIGHT).maps is not None
    with pytest.raises(FrameRejectedError):
        calibrator(info(d=PLUMB_BOB), WIDTH // 2, HEIGHT)


@pytest.mark.parametrize(
    ("topic", "d", "model", "why"),
    [
        ("/cam/image_rect", [], "plumb_bob", "P, rectified: the topic is named image_rect"),
        ("/cam/image_rect/compressed", [], "plumb_bob", "P, rectified: the topic is named image_rect"),
        ("/cam/compressed", [], "plumb_bob", "P, rectified: D is zero"),
        ("compressed", [], "plumb_bob", "P, rectified: D is zero"),
        ("/cam/image_raw/compressed", PLUMB_BOB, "plumb_bob", "K and D, raw: the topic is named image_raw"),
        ("/cam/image_raw", [], "plumb_bob", "K, raw without distortion: the topic is named image_raw"),
        ("/cam/image", PLUMB_BOB, "plumb_bob", "K and D, raw: D has values"),
        ("/cam/image", [0.0] * 4, "equidistant", "K and D, raw: the lens is a fisheye"),
    ],
)
def test_each_calibration_says_why_it_was_chosen(topic, d, model, why):
    assert calibrate(info(d=d, distortion_model=model), topic).source == why


def test_a_parameter_says_so_and_an_empty_p_too():
    assert calibrate(info(), rectification="rectified").source == "P, rectified: the parameter rectification says so"
    assert calibrate(info(p=np.zeros(12)), "/c/image_rect").source.startswith("K (P is zero), rectified")
    with pytest.raises(FrameRejectedError, match="the last row of K must be"):
        calibrate(info(p=np.zeros(12), k=[500.0, 0, 310, 0, 510, 250, 0, 0, 2]), "/c/image_rect")
