"""What an export keeps of a long recording: little, and the same as keeping everything would say."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.robot_bench import robot_bag

from add_ros import export_bag
from add_ros.bag_export import delays
from add_ros.bag_export.delays import Delays
from add_ros.bag_export.exported_frames import ExportedFrames
from add_ros.bag_export.journal import HEADER, Journal, Row, frame_id, read_rows
from add_ros.bag_export.seen_stamps import SeenStamps
from add_ros.bags.errors import BagError

STAMP = 1_700_000_000 * 10**9


def rows(count, first=0):
    for i in range(first, first + count):
        yield Row(frame_id(i), 0, "/cam/image_raw", "eye", STAMP + i, STAMP + i + 5, 100, i % 3, (0.0, -1.0, 0.0))


@given(st.lists(st.integers(-50, 50)))
def test_a_stamp_is_new_once(stamps):
    seen, before = SeenStamps(), set()
    for stamp in stamps:
        assert seen.add(stamp) == (stamp not in before)
        before.add(stamp)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=100))
def test_delays_of_a_short_recording_are_all_kept(values):
    kept = Delays()
    for value in values:
        kept.add(value)
    assert (kept.count, kept.least, kept.most) == (len(values), min(values), max(values))
    np.testing.assert_array_equal(kept.spread(), values)


def test_delays_of_a_long_recording_lie_evenly(monkeypatch):
    monkeypatch.setattr(delays, "_MOST", 16)
    kept = Delays()
    for value in range(1000):
        kept.add(value)
        found = kept.spread()
        assert len(found) < 16 and found[0] == 0 and len(set(np.diff(found))) <= 1
    assert len(kept.spread()) >= 8 and (kept.count, kept.least, kept.most) == (1000, 0, 999)


def test_no_row_is_held_in_memory(tmp_path):
    tracemalloc.start()
    try:
        with Journal(tmp_path, {}) as journal:
            for row in rows(2000):
                journal.add(row)
            grown, _ = tracemalloc.get_traced_memory()
            frames = ExportedFrames.of(journal.rows())
        again = Journal(tmp_path, {})
        assert grown < 50_000 and tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert again.count == 2000 and again.last == next(rows(1, 1999)) == list(journal.rows())[-1]
    np.testing.assert_array_equal(frames.stamp, STAMP + np.arange(2000))
    np.testing.assert_array_equal(frames.objects, np.arange(2000) % 3)
    assert frames.scanned.all() and (frames.scan_offset == 5).all() and frames.labelled.all()


@pytest.mark.parametrize("kept", range(0, 200, 7))
def test_a_table_that_was_cut_anywhere_goes_on_as_if_it_had_not_been(kept, tmp_path):
    whole = HEADER + "".join(row.line() for row in rows(4))
    with Journal(tmp_path, {}):
        pass
    (tmp_path / "frames.tsv").write_text(whole[:kept])
    with Journal(tmp_path, {}) as journal:
        for row in rows(4 - journal.count, journal.count):
            journal.add(row)
    assert (tmp_path / "frames.tsv").read_text() == whole


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (Row("000007", 0, "/cam", "eye", STAMP).line(), "has the frame 000007 where 000001 is to follow"),
        (Row("000001", 0, "/cam", "eye", 2**62).line(), "line 3: not a row of an export"),
        (Row("000001", 2**16, "/cam", "eye", STAMP).line(), "line 3: not a row of an export"),
    ],
)
def test_a_table_that_was_edited_is_named(line, said, tmp_path):
    with Journal(tmp_path, {}) as journal:
        journal.add(*rows(1))
    with (tmp_path / "frames.tsv").open("a") as file:
        file.write(line)
    with pytest.raises(BagError, match=said):
        Journal(tmp_path, {})


def test_a_bag_that_is_another_one_by_now_is_not_gone_on_with(tmp_path, capsys):
    bag, out = robot_bag(tmp_path / "bag", count=3), tmp_path / "out"
    assert export_bag.main([str(bag), "--out", str(out)]) == 0
    rows = list(read_rows(out / "frames.tsv"))
    table = (out / "frames.tsv").read_text().replace(str(rows[1].stamp) + "\t", str(rows[1].stamp + 1) + "\t", 1)
    (out / "frames.tsv").write_text(table)
    assert export_bag.main([str(bag), "--out", str(out)]) == 1
    assert f"at {rows[1].stamp + 1} ns where {bag} has none: the bag is another one" in capsys.readouterr().err
