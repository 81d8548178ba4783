"""Which numbers of coefficients a lens model has."""

import numpy as np
import pytest

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
