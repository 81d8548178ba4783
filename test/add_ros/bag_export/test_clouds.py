"""PointCloud2 of many drivers: whatever the layout, the same points and times come out."""

from types import SimpleNamespace as Of

import numpy as np
import pytest

from add_ros.bag_export.clouds import cloud_of
from add_ros.errors import FrameRejectedError

STAMP = 1_700_000_000_123_456_789
CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
XYZ = np.random.default_rng(0).uniform(-50, 50, (12, 3)).astype(np.float32)
OFFSETS = np.arange(12) * 8_000_000  # ns over a sweep of 0.1 s


def message(columns, order="<", height=1, row_padding=0, point_padding=0):
    """A PointCloud2 of columns name -> (type, values (N,))."""
    kind = np.dtype([(name, order + code) for name, (code, _) in columns.items()] + [("_", f"V{point_padding}")])
    rows = np.zeros(len(next(iter(columns.values()))[1]), kind)
    for name, (_, values) in columns.items():
        rows[name] = values
    width = len(rows) // height
    lines = rows.view(np.uint8).reshape(height, -1)
    data = np.pad(lines, ((0, 0), (0, row_padding))).ravel()
    fields = [Of(name=n, offset=kind.fields[n][1], datatype=CODES[c], count=1) for n, (c, _) in columns.items()]
    header = Of(stamp=Of(sec=STAMP // 10**9, nanosec=STAMP % 10**9), frame_id="lidar")
    return Of(
        header=header, height=height, width=width, fields=fields, is_bigendian=order == ">",
        point_step=kind.itemsize, row_step=width * kind.itemsize + row_padding, data=data, is_dense=True,
    )  # fmt: skip


def xyz(code="f4"):
    return {name: (code, XYZ[:, i]) for i, name in enumerate("xyz")}


@pytest.mark.parametrize(
    "made",
    [
        message(xyz()),
        message(xyz("f8")),
        message(xyz(), order=">"),
        message(xyz(), height=3, row_padding=7),
        message(xyz(), point_padding=20),
        message(
            {"ring": ("u2", np.arange(12)), "z": ("f4", XYZ[:, 2]), "y": ("f4", XYZ[:, 1]), "x": ("f4", XYZ[:, 0])}
        ),
    ],
    ids=["plain", "doubles", "big endian", "organised, padded rows", "padded points", "another order"],
)
def test_any_layout_gives_the_points(made):
    cloud = cloud_of(made)
    np.testing.assert_array_equal(cloud.points[:, :3], XYZ)
    assert cloud.points.dtype == np.float32 and (cloud.points[:, 3] == 0).all() and cloud.stamps is None


@pytest.mark.parametrize("name", ["intensity", "reflectivity", "i"])
def test_intensity_is_kept_as_recorded(name):
    cloud = cloud_of(message(xyz() | {name: ("u2", np.arange(12))}))
    np.testing.assert_array_equal(cloud.points[:, 3], np.arange(12))


def test_points_without_a_return_are_left_out():
    values = XYZ.copy()
    values[3], values[5, 1], values[7] = 0, np.nan, np.inf
    columns = {name: ("f4", values[:, i]) for i, name in enumerate("xyz")} | {"t": ("u4", OFFSETS)}
    cloud = cloud_of(message(columns))
    kept = np.setdiff1d(np.arange(12), [3, 5, 7])
    np.testing.assert_array_equal(cloud.points[:, :3], XYZ[kept])
    np.testing.assert_array_equal(cloud.stamps, STAMP + OFFSETS[kept])


@pytest.mark.parametrize(
    ("name", "code", "values", "tolerance"),
    [
        ("t", "u4", OFFSETS, 0),  # Ouster
        ("time", "f4", OFFSETS / 1e9, 10),  # Velodyne
        ("timestamp", "f8", (STAMP // 10**9) + (STAMP % 10**9 + OFFSETS) / 1e9, 500),  # Hesai, RoboSense
        ("timestamp", "f8", (STAMP + OFFSETS).astype(float), 500),  # Livox
        ("offset_time", "u4", OFFSETS, 0),
        ("time", "f4", (OFFSETS - OFFSETS[-1]) / 1e9, 10),  # Velodyne's older driver: before the stamp
    ],
)
def test_times_of_all_drivers(name, code, values, tolerance):
    stamps = cloud_of(message(xyz() | {name: (code, values)})).stamps
    start = -OFFSETS[-1] if np.min(values) < 0 else 0
    np.testing.assert_allclose((stamps - STAMP).astype(float), OFFSETS + start, rtol=0, atol=tolerance)


@pytest.mark.parametrize("values", [np.full(12, 7.0), np.arange(12) * 60.0, np.full(12, np.nan)])
def test_values_that_are_no_times_of_a_sweep_are_not_taken_for_some(values):
    assert cloud_of(message(xyz() | {"time": ("f4", values)})).stamps is None


def test_an_empty_cloud_has_no_points():
    made = message(xyz())
    made.width, made.data, made.row_step = 0, np.empty(0, np.uint8), 0
    assert cloud_of(made).points.shape == (0, 4)


def test_what_is_malformed_is_named():
    with pytest.raises(FrameRejectedError, match="no field z; it has x, y"):
        cloud_of(message(dict.fromkeys("xy", ("f4", XYZ[:, 0]))))
    cut = message(xyz())
    cut.data = cut.data[:-1]
    with pytest.raises(FrameRejectedError, match="12x1 points, 12 bytes each, has 143 bytes"):
        cloud_of(cut)
    beyond = message(xyz())
    beyond.point_step, beyond.row_step = 10, 120
    with pytest.raises(FrameRejectedError, match="beyond its point_step"):
        cloud_of(beyond)
