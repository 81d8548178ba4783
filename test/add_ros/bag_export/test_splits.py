"""Splits by recording or time: neighbours in time never come apart."""

from dataclasses import replace

import numpy as np
import pytest

from add_ros.bag_export.exported_frames import ExportedFrames
from add_ros.bag_export.journal import Row
from add_ros.bag_export.splits import split as split_frames

SECOND = 10**9


def rows(*stretches, bag=0, objects=1):
    """Frames 0.1 s apart; a stretch is (start in seconds, count)."""
    stamps = [round(start * SECOND) + i * SECOND // 10 for start, count in stretches for i in range(count)]
    return [Row(f"{bag}{i:05d}", bag, "/cam", "eye", stamp, objects=objects) for i, stamp in enumerate(stamps)]


def split(rows, *options, **named):
    """(lists of ids, the sentence) of rows."""
    lists, how = split_frames(ExportedFrames.of(rows), *options, **named)
    return {name: [rows[number].id for number in numbers] for name, numbers in lists.items()}, how


def stamps_of(rows, ids):
    of = {row.id: row.stamp for row in rows}
    return np.array([of[i] for i in ids])


def test_whole_recordings_go_to_one_side():
    all_rows = [row for bag in range(5) for row in rows((100 * bag, 20), bag=bag)]
    lists, how = split(all_rows, 0.2, 10, seed=0)
    assert len(lists["val"]) == 20 and len(lists["train"]) == 80 and len({i[0] for i in lists["val"]}) == 1
    assert lists["trainval"] == [row.id for row in all_rows] and "by recording (5)" in how
    assert split(all_rows, 0.2, 10, seed=0)[0] == lists
    assert {split(all_rows, 0.2, 10, seed=s)[0]["val"][0] for s in range(20)} != {lists["val"][0]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("counts", "val"), [((20, 10), 10), ((40, 50), 40), ((5, 30, 30), 5)])
def test_few_recordings_of_unequal_length_give_the_nearest_share(counts, val, seed):
    all_rows = [row for bag, count in enumerate(counts) for row in rows((100 * bag, count), bag=bag)]
    assert len(split(all_rows, 0.1, 10, seed)[0]["val"]) == val


def test_stretches_of_one_recording_are_apart_by_more_than_the_gap():
    all_rows = rows((0, 30), (60, 30), (120, 30))
    lists, how = split(all_rows, 0.3, 10, seed=1)
    apart = np.abs(stamps_of(all_rows, lists["train"])[:, None] - stamps_of(all_rows, lists["val"]))
    assert len(lists["val"]) == 30 and apart.min() > 10 * SECOND and "3 stretches" in how


def test_one_stretch_is_cut_with_a_gap():
    all_rows = rows((0, 600))
    lists, how = split(all_rows, 0.2, 5, seed=0)
    train, val = stamps_of(all_rows, lists["train"]), stamps_of(all_rows, lists["val"])
    assert len(val) == 120 and val.min() - train.max() > 5 * SECOND and len(train) + len(val) == 600 - 50
    assert "50 frames within 5 s of the cut in neither list" in how


def test_a_recording_too_short_to_be_cut_is_all_for_training():
    lists, how = split(rows((0, 50)), 0.2, 10, seed=0)
    assert len(lists["train"]) == 50 and not lists["val"] and "too short" in how


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_frames_without_labels_are_in_no_split(share):
    bare = rows((0, 20), bag=1, objects=None)
    lists, _ = split(rows((0, 20)) + rows((0, 20), bag=2) + bare, share, 10, seed=0)
    assert lists["unlabelled"] == [row.id for row in bare]
    assert sorted(lists["train"] + lists["val"]) == sorted(lists["trainval"]) and bool(lists["val"]) == bool(share)


def test_frames_with_a_scan_have_lists_of_their_own_where_others_have_none():
    bags = [rows((100 * bag, 20), bag=bag) for bag in range(2)]
    whole = [replace(row, points=9) for bag in bags for row in bag]
    lists, told = split(whole, 0.5, 10, seed=0)
    assert not lists["train_scanned"] and not lists["val_scanned"] and "scan" not in told
    some = [replace(row, points=9 if i % 4 else None) for i, row in enumerate(whole)]
    lists, told = split(some, 0.5, 10, seed=0)
    for name in ("train", "val"):
        assert lists[f"{name}_scanned"] == [i for i in lists[name] if int(i[1:]) % 4]
    assert told.endswith("20 to train on, 20 to validate on, of which 15 and 15 have a scan (*_scanned.txt)")
    assert not split(rows((0, 20)), 0.0, 10, seed=0)[0]["train_scanned"]
