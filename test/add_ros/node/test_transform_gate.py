"""Transforms that may pass to tf2's buffer, against one that notes what comes."""

import math

import pytest
from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st

from add_ros.bounds import impossible_transform
from add_ros.node.transform_gate import MOST_FRAMES, TransformGate

HOUR = 3600


class Noted:
    """As a buffer: stamps of /tf in seconds, names of /tf_static, and "clear"."""

    def __init__(self):
        self.came, self.why = [], []
        self.time = 100
        self.gate = TransformGate(self, lambda: self.time * 10**9, lambda kind, said: self.why.append((kind, said)))

    def set_transform(self, transform, authority):
        self.came.append(transform.header.stamp.sec)

    def set_transform_static(self, transform, authority):
        self.came.append(transform.child_frame_id)

    def clear(self):
        self.came.append("clear")

    def send(self, *secs, child="lens", parent="base"):
        for sec in secs:
            self.gate.set_transform(said(parent, child, sec=sec), "a test")


def said(parent="base", child="lens", shift=(0, 0, 0), turn=(0, 0, 0, 1), sec=0):
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id, transform.header.stamp.sec = parent, sec
    move, rotation = transform.transform.translation, transform.transform.rotation
    (move.x, move.y, move.z), (rotation.x, rotation.y, rotation.z, rotation.w) = map(float, shift), map(float, turn)
    return transform


@pytest.fixture
def noted():
    return Noted()


def test_a_lie_about_the_time_is_left_out_and_the_truth_goes_on(noted):
    noted.send(100, 101, 101 + HOUR, 102, 101 + 2 * HOUR, 103, 0, 104)
    assert noted.came == [100, 101, 102, 103, 104]
    assert [kind for kind, _ in noted.why] == ["another time"] * 3 and "'lens' is stamped +3600 s" in noted.why[0][1]


def test_a_first_transform_of_the_future_gives_way_to_five_that_agree(noted):
    """What tf2 alone would keep for ever."""
    noted.send(HOUR, 100, 101, 102, 103, 104, 105)
    assert noted.came == [HOUR, "clear", 104, 105]


def test_old_ones_that_disagree_never_clear_the_buffer(noted):
    noted.send(HOUR, *range(0, 1000, 11))
    assert noted.came == [HOUR]


def test_a_publisher_that_was_silent_goes_on_at_once(noted):
    noted.send(100)
    noted.time = 100 + HOUR
    noted.send(100 + HOUR)
    assert noted.came == [100, 100 + HOUR]


def test_a_publisher_whose_clock_is_ahead_and_jumps_is_believed_in_the_end(noted):
    noted.send(2 * HOUR, *range(4 * HOUR, 4 * HOUR + 6))
    assert noted.came == [2 * HOUR, 4 * HOUR + 4, 4 * HOUR + 5]


def test_after_a_jump_of_the_clock_any_time_may_follow(noted):
    noted.send(100)
    noted.gate.forget()
    noted.send(5, 6)
    assert noted.came == [100, 5, 6]


@pytest.mark.parametrize(
    ("parent", "child"),
    [("", "lens"), ("base", ""), ("/", "lens"), ("lens", "lens"), ("/lens", "lens"), ("b" * 256, "lens")],
)
def test_names_that_name_nothing_are_left_out(noted, parent, child):
    noted.send(100, parent=parent, child=child)
    noted.gate.set_transform_static(said(parent, child), "a test")
    assert noted.came == [] and [kind for kind, _ in noted.why] == ["frame names"] * 2
    assert all(len(text) < 250 for _, text in noted.why)


def test_a_flood_of_frames_ends_and_the_known_ones_go_on(noted):
    noted.send(100)
    noted.gate.set_transform_static(said("map", "base"), "a test")
    for n in range(MOST_FRAMES + 100):
        noted.gate.set_transform(said("base", f"f{n}", sec=100), "a test")
    assert len(noted.came) == MOST_FRAMES and [kind for kind, _ in noted.why] == ["too many frames"] * 102
    noted.send(101)
    noted.gate.set_transform_static(said("map", "base"), "a test")
    assert noted.came[-2:] == [101, "base"]


VALUES = st.floats() | st.sampled_from([0.0, 0.5, -0.5, 1.0, 1e8, 1.1e8, 1e300, 5e-324])


@given(st.lists(VALUES, min_size=3, max_size=3), st.lists(VALUES, min_size=4, max_size=4))
def test_what_passes_moves_points_by_finite_metres_and_a_rotation(shift, turn):
    length = math.hypot(*turn)
    possible = all(map(math.isfinite, [*shift, *turn])) and all(abs(v) <= 1e8 for v in shift)
    possible = possible and abs(length - 1) <= 0.1
    assert (impossible_transform(said(shift=shift, turn=turn)) is None) == possible
