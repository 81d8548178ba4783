"""Which coefficients a lens model can have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from add_model.geometry.camera import Camera
from add_model.geometry.distortion import UnknownLensError, distorts, undistortion_maps

CAMERA = Camera.pinhole(300, 300, 32, 24, 64, 48)


@pytest.mark.parametrize(
    ("model", "accepted", "longest"),
    [
        ("plumb_bob", {4, 5}, 5),
        ("rational_polynomial", {8, 12, 14}, 14),  # those between are padded by zeros
        ("equidistant", {4}, 4),
        ("fisheye", {4}, 4),
    ],
)
def test_each_lens_model_has_its_own_numbers_of_coefficients(model, accepted, longest):
    for count in accepted:
        column, row = undistortion_maps(model, np.full(count, 1e-3), CAMERA)
        assert column.shape[:2] == row.shape == (48, 64)
    for count in (1, 2, 3, longest + 1, longest + 3):
        with pytest.raises(ValueError, match=f"{model} needs"):
            undistortion_maps(model, np.full(count, 0.01), CAMERA)


def test_an_unknown_lens_is_named():
    with pytest.raises(UnknownLensError, match="'kannala'"):
        undistortion_maps("kannala", np.zeros(4), CAMERA)


def test_only_a_fisheye_distorts_without_coefficients():
    assert distorts("equidistant", np.zeros(4)) and distorts("plumb_bob", np.array([0, 0, 0, 0.01]))
    assert not distorts("plumb_bob", np.zeros(5))


PROJECTIONS = {  # of ideal lenses: angle from the axis -> radius, for a focal length of 1
    "rectilinear": np.tan,
    "stereographic": lambda angle: 2 * np.tan(angle / 2),
    "equidistant": lambda angle: angle,
    "equisolid": lambda angle: 2 * np.sin(angle / 2),
    "pincushion": lambda angle: np.tan(angle) * (1 + 0.15 * np.tan(angle) ** 2),
}


@given(
    lens=st.sampled_from(sorted(PROJECTIONS)),
    model=st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant"]),
    corner=st.floats(0.1, 1.0),  # of the image, in focal lengths from its middle: views of 11 to 115 degrees and more
    tangential=st.tuples(*[st.floats(-0.01, 0.01)] * 2),
)
def test_coefficients_fitted_to_a_lens_are_taken(lens, model, corner, tangential):
    """Least squares over what the image shows, as a calibration does it."""
    angles = np.linspace(0, 1.4, 5000)[1:]
    radii = PROJECTIONS[lens](angles)
    angles, radii = angles[radii < corner], radii[radii < corner]
    ideal = angles if model == "equidistant" else np.tan(angles)
    powers = ideal[:, None] ** [[2, 4, 6, 8] if model == "equidistant" else [2, 4, 6]]
    if model == "rational_polynomial":  # radius (1 + k4 r^2 + ...) = r (1 + k1 r^2 + ...)
        powers = np.hstack([powers, -powers * (radii / ideal)[:, None]])
    k = np.linalg.lstsq(powers, radii / ideal - 1, rcond=1e-6)[0]
    d = k if model == "equidistant" else np.insert(k, 2, tangential)
    focal = np.hypot(320, 240) / corner
    undistortion_maps(model, d, Camera.pinhole(focal, focal, 320, 240, 640, 480))


@pytest.mark.parametrize(
    ("model", "d", "camera"),
    [
        ("plumb_bob", [0.1536, -0.4791, -0.0006, -0.0005, 0.432], (915, 915, 642, 363, 1280, 720)),  # RealSense L515
        ("plumb_bob", [0.2624, -0.9531, -0.0054, 0.0026, 1.1633], (517, 516, 318, 255, 640, 480)),  # Kinect
        ("plumb_bob", [-0.35, 0, 0, 0], (320, 320, 320, 240, 640, 480)),  # folds in the corners: k1 was fitted alone
        # Azure Kinect, KITTI, and TUM-VI's fisheye
        (
            "rational_polynomial",
            [0.7296, -2.6537, 0.00099, -0.00017, 1.5007, 0.6017, -2.4733, 1.4279],
            (609, 609, 637, 370, 1280, 720),
        ),
        ("plumb_bob", [-0.3691, 0.1969, 0.00135, 0.00057, -0.0677], (959.8, 956.9, 696, 224.2, 1392, 512)),
        ("plumb_bob", [-0.3691, 0.1969, 0.00135, 0.00057, -0.0677], (480, 478, 348, 112, 1392, 512)),  # doubted, for K
        ("equidistant", [0.00348, 0.000715, -0.00205, 0.000203], (191, 191, 255, 257, 512, 512)),
    ],
)
def test_lenses_that_there_are_are_taken(model, d, camera):
    undistortion_maps(model, np.array(d), Camera.pinhole(*camera))


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", [100, -1e4, 0, 0, 1e6]),
        ("plumb_bob", [1e30, 1e30, 0, 0, 1e30]),
        ("plumb_bob", [1e300] * 5),
        ("plumb_bob", [0, 0, 5, 0, 0]),
        ("plumb_bob", [-1e4, 0, 0, 0]),
        ("rational_polynomial", [0, 0, 0, 0, 0, -1e3, 0, 0]),
        ("equidistant", [1e30] * 4),
    ],
)
def test_coefficients_of_no_lens_are_refused(model, d):
    with pytest.raises(ValueError, match="no lens is like D") as caught:
        undistortion_maps(model, np.array(d, float), Camera.pinhole(721, 721, 609, 173, 1242, 375))
    assert str(np.array(d, float).tolist()) in str(caught.value)


@pytest.mark.parametrize("d", [[-0.3691, 0.1969, 0.00135, 0.00057, -0.0677], [100, -1e4, 0, 0, 1e6]])
def test_a_region_in_the_corner_is_judged_as_its_image_is(d):
    def taken(camera):
        try:
            return bool(undistortion_maps("plumb_bob", np.array(d), camera))
        except ValueError:
            return False

    whole = Camera.pinhole(960, 957, 696, 224, 1392, 512)
    assert taken(whole) == taken(whole.crop(1192, 412, 200, 100)) == taken(whole.crop(0, 0, 200, 100))
