"""Images with the CameraInfo of their stamp, in any order of arrival."""

from types import SimpleNamespace

from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st

from add_ros.camera_info_sync import CameraInfoSynchronizer, same_size, synchronizer_of_recorded

PATIENCE = 4  # of the clock that these tests have


def message(kind: str, stamp: int) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, header=SimpleNamespace(stamp=Time(sec=stamp, nanosec=5)))


class Record:
    def __init__(self):
        self.pairs, self.fallbacks, self.unpaired, self.now = [], 0, 0, 0
        self.pairing = CameraInfoSynchronizer(self.emit, self.fallback, self.drop, patience=PATIENCE)

    def emit(self, image, info):
        assert (image.kind, info.kind) == ("image", "info")
        self.pairs.append((image.header.stamp.sec, info.header.stamp.sec))

    def fallback(self, image, info):
        self.fallbacks += 1

    def drop(self):
        self.unpaired += 1

    def image(self, stamp):
        self.pairing.add_image(message("image", stamp), self.now)
        return self

    def info(self, stamp):
        self.pairing.add_info(message("info", stamp))
        return self

    def late(self):
        self.pairing.flush()
        return self

    def wait(self, until):
        while self.now < until:
            self.now += 1
            self.pairing.expire(self.now)
        return self


def test_exact_in_either_order():
    record = Record().info(1).image(1).image(2).info(2)
    assert record.pairs == [(1, 1), (2, 2)] and not record.fallbacks


def test_the_latest_serves_where_none_matches_and_images_do_not_wait_again():
    record = Record().info(1).image(5)
    assert record.pairs == [] and record.pairing.waiting
    record.late()
    assert record.pairs == [(5, 1)] and record.fallbacks == 1
    record.image(6)
    assert record.pairs == [(5, 1), (6, 1)]


def test_waits_again_once_stamps_match_again():
    record = Record().info(1).image(5).late().info(5).image(6)
    assert record.pairs == [(5, 1)] and record.pairing.waiting
    assert record.info(6).pairs == [(5, 1), (6, 6)]


def test_images_ahead_of_their_infos_after_a_stall_still_match():
    record = Record().info(1).image(5).image(6).info(4).info(5).info(6)
    assert record.pairs == [(5, 5), (6, 6)] and not record.fallbacks


def test_a_lost_info_costs_only_its_own_image_the_exact_pair():
    record = Record().info(1).image(5).image(6).info(6)
    assert record.pairs == [(5, 1), (6, 6)] and record.fallbacks == 1 and record.image(7).pairing.waiting is not None


def test_each_image_has_its_own_patience():
    record = Record().info(1).image(5).wait(1).image(6).wait(3).info(5)
    assert record.wait(4).pairs == [(5, 5)]  # the second one came later
    assert record.wait(5).pairs == [(5, 5), (6, 5)] and record.fallbacks == 1 and not record.pairing.waiting


def test_few_images_wait():
    record = Record().info(1).image(5).image(6).image(7)
    assert record.pairs == []
    assert record.image(8).pairs[0] == (5, 1)


def test_images_before_any_camera_info_are_counted():
    record = Record().image(1).late().image(2).image(3).info(3)
    assert record.unpaired == 2 and record.pairs == [(3, 3)]


def test_a_bag_that_loops_keeps_matching():
    record = Record()
    for _ in range(3):
        for stamp in range(0, 100, 5):
            for offset in range(5):  # camera_info comes more often than images get here
                record.info(stamp + offset)
            record.image(stamp)
    assert all(a == b for a, b in record.pairs) and len(record.pairs) == 60 and not record.fallbacks


@given(st.lists(st.tuples(st.sampled_from(["image", "info", "late"]), st.integers(0, 6)), max_size=60))
def test_any_order_accounts_for_every_image_once_and_in_order(events):
    record, sent = Record(), []
    for kind, stamp in events:
        if kind == "late":
            record.late()
        else:
            getattr(record, kind)(stamp)
            sent += [stamp] if kind == "image" else []
    record.late()
    assert len(record.pairs) + record.unpaired == len(sent)
    assert [image for image, _ in record.pairs] == sent[record.unpaired :]
    assert len(record.pairing._infos.cache_msgs) <= 16


@given(st.lists(st.tuples(st.sampled_from(["image", "info"]), st.integers(0, 6), st.integers(0, 3)), max_size=60))
def test_no_image_waits_for_longer_than_its_patience(events):
    record, came = Record(), []
    for kind, stamp, pause in events:
        for moment in range(record.now + 1, record.now + pause + 1):
            record.wait(moment)
            settled = len(record.pairs) + record.unpaired
            assert all(moment - since < PATIENCE for since in came[settled:])
        getattr(record, kind)(stamp)
        came += [record.now] if kind == "image" else []


def test_stamps_before_1970_pair_too():
    record = Record().info(-5).image(-5).image(-4).info(-4).info(-3).image(-2).late()
    assert record.pairs == [(-5, -5), (-4, -4), (-2, -3)] and record.fallbacks == 1


def sized(kind, stamp, width):
    roi = SimpleNamespace(width=0, height=0)
    return SimpleNamespace(**vars(message(kind, stamp)), width=width, height=48, roi=roi, binning_x=0, binning_y=0)


def test_an_image_is_not_paired_with_another_size_before_its_own_had_time_to_come():
    """Not even where stamps never match and images have stopped waiting."""
    record = Record()
    record.pairing = CameraInfoSynchronizer(record.emit, record.fallback, record.drop, PATIENCE, 50, same_size)
    record.pairing.add_info(sized("info", 1, 64))
    record.pairing.add_image(sized("image", 2, 64), record.now)
    record.wait(PATIENCE)
    assert record.pairs == [(2, 1)]
    record.pairing.add_image(sized("image", 3, 64), record.now)
    assert record.pairs[1:] == [(3, 1)], "the same size serves at once"
    record.pairing.add_image(sized("image", 4, 32), record.now)
    record.wait(record.now + 30)
    assert len(record.pairs) == 2
    record.pairing.add_info(sized("info", 4, 32))
    assert record.pairs[2:] == [(4, 4)]
    record.pairing.add_image(sized("image", 5, 128), record.now)
    record.wait(record.now + 50)
    assert record.pairs[3:] == [(5, 4)], "what never comes is told by the size, as ever"


def test_binning_and_regions_are_of_the_size():
    image, info = sized("image", 1, 64), sized("info", 1, 128)
    assert not same_size(image, info)
    info.height, info.binning_x, info.binning_y = 96, 2, 2
    assert same_size(image, info)
    info.roi = SimpleNamespace(width=64, height=96)
    assert not same_size(image, info)
    assert same_size(SimpleNamespace(data=b"jpeg"), info), "unknown before decoding"


def test_recorded_images_of_a_new_mode_wait_for_its_late_camera_info_as_the_nodes_do():
    """Each CameraInfo comes 0.25 s after its image, and one of the old mode never came."""
    pairs, tenth = [], 10**8

    def sized(moment, width):
        header = SimpleNamespace(stamp=Time(sec=moment // 10**9, nanosec=moment % 10**9))
        region = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
        return SimpleNamespace(header=header, width=width, height=480, binning_x=0, binning_y=0, roi=region)

    synchronizer = synchronizer_of_recorded(
        lambda image, info: pairs.append((image, info)), lambda image, info: None, lambda: None
    )
    events = [(k * tenth, False, sized(k * tenth, 640 if k < 10 else 1280)) for k in range(1, 20)]
    events += [(time + tenth * 5 // 2, True, message) for time, _, message in events if time != 5 * tenth]
    for time, is_info, one in sorted(events, key=lambda event: event[0]):
        synchronizer.expire(time)
        if is_info:
            synchronizer.add_info(one)
        else:
            synchronizer.add_image(one, time)
    synchronizer.flush()
    assert [image.width for image, _ in pairs].count(1280) >= 8
    assert all(image.width == info.width for image, info in pairs)
