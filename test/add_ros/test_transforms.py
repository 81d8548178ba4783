"""Transforms of a recording: chains, interpolation and tf2's refusals, against matrices made by hand."""

from types import SimpleNamespace as Of

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from add_ros.errors import FrameRejectedError
from add_ros.transforms import TransformTree

SECOND = 10**9


def transform(parent, child, matrix, stamp=0):
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    move = Of(**dict(zip("xyz", matrix[:3, 3], strict=True)))
    header = Of(frame_id=parent, stamp=Of(sec=stamp // SECOND, nanosec=stamp % SECOND))
    return Of(header=header, child_frame_id=child, transform=Of(translation=move, rotation=Of(x=x, y=y, z=z, w=w)))


def pose(yaw, *position):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_euler("z", yaw, degrees=True).as_matrix(), position
    return matrix


def tree_of(*static, moving=()):
    tree = TransformTree()
    tree.add(static, True, 0)
    tree.add(moving, False, 0)
    return tree


def test_a_chain_up_and_down_is_the_product_of_its_poses():
    base, lidar, eye = pose(30, 1, 2, 0.5), pose(-90, 0.3, 0, 1), pose(12, -0.1, 0.4, 1.2)
    tree = tree_of(transform("odom", "base", base), transform("base", "lidar", lidar), transform("/base", "/eye", eye))
    np.testing.assert_allclose(tree.lookup("eye", "lidar", 5), np.linalg.inv(eye) @ lidar, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("odom", "/lidar", 5), base @ lidar, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("lidar", "odom", 5), np.linalg.inv(base @ lidar), atol=1e-12)
    assert tree.root("eye") == "odom" and tree.ground("eye") is None


@pytest.mark.parametrize("odom", ["odom", "robot/odom"])
def test_the_ground_is_odom_and_not_the_map_that_jumps_above_it(odom):
    moving = [transform("map", odom, np.eye(4)), transform(odom, "base", np.eye(4), SECOND)]
    tree = tree_of(transform("base", "eye", np.eye(4)), moving=moving)
    assert tree.ground("eye") == odom and tree.root("eye") == "map"
    tree = tree_of(transform("earth", "map", np.eye(4)), moving=[transform("map", "base", np.eye(4))])
    assert tree.ground("base") == "earth" and tree.ground("earth") is None
    assert tree_of(transform(odom, "base", np.eye(4))).ground("base") is None  # nothing moves
    still = tree_of(transform(odom, "base", np.eye(4)), moving=[transform("map", odom, np.eye(4))])
    assert still.ground("base") == "map"  # what moves is above odom alone


def test_between_two_stamps_position_is_linear_and_rotation_uniform():
    start = 1_700_000_000 * SECOND
    tree = tree_of(
        moving=[transform("odom", "base", pose(a, x, 0, 0), start + t) for t, a, x in ((0, 0, 0), (SECOND, 90, 8))]
    )
    stamps = start + np.array([0, SECOND // 4, SECOND // 2, SECOND])
    expected = [pose(90 * s, 8 * s, 0, 0) for s in (0, 0.25, 0.5, 1)]
    np.testing.assert_allclose(tree.lookup("odom", "base", stamps), expected, atol=1e-9)
    assert tree.ground("base") == "odom"


def test_nothing_is_extrapolated():
    tree = tree_of(moving=[transform("odom", "base", np.eye(4), t * SECOND) for t in (10, 12)])
    with pytest.raises(
        FrameRejectedError, match=r"'base' in 'odom' is known from 10.000 to 12.000 s only, not at 12.5"
    ):
        tree.lookup("odom", "base", round(12.5 * SECOND))
    assert tree.lookup("odom", "base", 11 * SECOND).shape == (4, 4)


def test_frames_that_nothing_connects_are_named():
    tree = tree_of(transform("base", "eye", np.eye(4)))
    with pytest.raises(FrameRejectedError, match=r"no transform connects 'lidar' with 'eye'.*base, eye"):
        tree.lookup("eye", "lidar", 0)


def test_a_static_transform_that_is_published_again_holds_from_then_on():
    tree = TransformTree()
    for recorded, x in ((100, 1), (200, 1), (300, 2)):
        tree.add([transform("base", "eye", pose(0, x, 0, 0))], True, recorded)
    assert [tree.lookup("base", "eye", at)[0, 3] for at in (50, 250, 300, 900)] == [1, 1, 2, 2]


def test_a_circle_ends_and_broken_transforms_are_passed_over():
    tree = tree_of(transform("a", "b", np.eye(4)), transform("b", "a", np.eye(4)))
    with pytest.raises(FrameRejectedError):
        tree.lookup("c", "a", 0)
    broken = transform("base", "eye", np.eye(4))
    broken.transform.rotation = Of(x=0.0, y=0.0, z=0.0, w=0.0)
    assert tree_of(broken).frames() == []


NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, -0.5, 0.5, 1e7, 1e300])
NAMES = st.sampled_from(["a", "b", "c", "/a", "", "/"])
HOSTILE = st.tuples(
    NAMES, NAMES, st.tuples(*[NUMBERS] * 7), st.integers(0, 5) | st.integers(-(2**31), 2**31), st.booleans()
)


@settings(max_examples=60)
@given(st.lists(HOSTILE, max_size=12), st.integers(-(10**9), 6 * 10**9))
def test_whatever_is_recorded_gives_a_rigid_transform_or_a_refusal(recorded, stamp):
    tree = TransformTree()
    for parent, child, (x, y, z, *turn), sec, static in recorded:
        said = transform(parent, child, np.eye(4), sec * SECOND)
        said.transform = Of(translation=Of(x=x, y=y, z=z), rotation=Of(**dict(zip("xyzw", turn, strict=True))))
        tree.add([said], static, 0)
    tree.forget(stamp)
    try:
        found = tree.lookup("a", "b", stamp)
    except FrameRejectedError as error:
        assert error.reason == "no transform"
        return
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.isfinite(found).all()


def test_a_chain_without_end_is_refused():
    tree = tree_of(*(transform(f"f{n + 1}", f"f{n}", np.eye(4)) for n in range(1100)))
    assert tree.lookup("f999", "f0", 0).shape == (4, 4)
    with pytest.raises(FrameRejectedError):  # as tf2: time grows with the square of a chain
        tree.lookup("f1099", "f0", 0)


def test_old_transforms_are_forgotten_and_those_around_stay():
    tree = tree_of(moving=[transform("odom", "base", pose(0, t, 0, 0), t * SECOND) for t in range(1000)])
    tree.forget(900 * SECOND + 1)
    assert tree.lookup("odom", "base", 900 * SECOND + SECOND // 2)[0, 3] == pytest.approx(900.5)
    with pytest.raises(FrameRejectedError):
        tree.lookup("odom", "base", 500 * SECOND)
