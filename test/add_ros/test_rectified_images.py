"""When an image is decoded at half its size, and that nothing else of it changes then."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest

from add_model.predictor import Predictor
from add_ros.calibration import Calibrator
from add_ros.errors import FrameRejectedError
from add_ros.rectified_images import rectified_image

WIDTH, HEIGHT = 321, 179
PIXELS = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8), (WIDTH, HEIGHT))


def camera_info(focal=300.0, **changes):
    k = [focal, 0.0, 160.0, 0.0, focal, 90.0, 0.0, 0.0, 1.0]
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=k)
    info.p = [focal, 0.0, 160.0, 0.0, 0.0, focal, 90.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def coded(suffix=".jpg", kind="jpeg"):
    return CompressedImage(format=kind, data=cv2.imencode(suffix, PIXELS[..., ::-1])[1].tobytes())


def raw():
    return Image(width=WIDTH, height=HEIGHT, encoding="rgb8", step=3 * WIDTH, data=PIXELS.tobytes())


def always(_):
    return True


@pytest.mark.parametrize(
    ("message", "info", "halved"),
    [
        (coded(), camera_info(), True),
        (coded(".png", "png"), camera_info(), False),
        (coded(".jpg", "bayer_rggb8; jpeg compressed "), camera_info(), False),
        (coded(), camera_info(d=[-0.3, 0.1, 0.0, 0.0, 0.0]), False),
        (raw(), camera_info(), False),
        (
            coded(),
            camera_info(
                width=640, height=480, roi=RegionOfInterest(x_offset=100, y_offset=50, width=WIDTH, height=HEIGHT)
            ),
            True,
        ),
        (coded(), camera_info(width=2 * WIDTH, height=2 * HEIGHT, binning_x=2, binning_y=2), True),
    ],
    ids=["JPEG", "PNG", "mosaic", "distorted", "raw", "region of interest", "binned"],
)
def test_a_jpeg_without_distortion_is_halved_where_that_is_enough(message, info, halved):
    calibrator = Calibrator("auto", "/camera/image")
    whole, calibration = rectified_image(message, info, calibrator)
    assert whole.shape == (HEIGHT, WIDTH, 3)
    for enough in (lambda _: False, None):
        np.testing.assert_array_equal(rectified_image(message, info, calibrator, None, enough)[0], whole)
    image, same = rectified_image(message, info, calibrator, None, always)
    assert image.shape == (((HEIGHT + 1) // 2, (WIDTH + 1) // 2, 3) if halved else whole.shape)
    np.testing.assert_array_equal(same.camera.P, calibration.camera.P)
    assert (same.camera.width, same.camera.height, same.source) == (WIDTH, HEIGHT, calibration.source)
    if halved:
        means = cv2.resize(
            np.pad(whole, ((0, 1), (0, 1), (0, 0)), "edge"), image.shape[1::-1], interpolation=cv2.INTER_AREA
        )
        np.testing.assert_allclose(image.astype(int), means, atol=8)


def test_the_predictor_is_asked_with_the_whole_images_camera():
    predictor, calibrator = Predictor(threads=1), Calibrator("auto", "/camera/image")
    for focal, halved in ((900.0, True), (400.0, False)):  # the network sees 360
        info = camera_info(focal)
        image, calibration = rectified_image(coded(), info, calibrator, None, predictor.half_is_enough)
        assert (image.shape[1] < WIDTH) == halved
        predictor.predict(image, calibration.camera)


def test_what_does_not_fit_its_camera_info_is_not_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(FrameRejectedError, match="321x179 but its camera_info describes 161x90"):
        rectified_image(coded(), camera_info(width=161, height=90), Calibrator("auto", "/camera/image"), None, always)
