"""Reading ahead changes neither what comes nor what goes wrong."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from add_ros.bags.prefetch import prefetched


@given(st.lists(st.integers() | st.none()), st.integers(1, 5))
def test_the_same_items_in_the_same_order(items, depth):
    assert list(prefetched(items, depth)) == items


def test_an_error_comes_after_the_items_before_it():
    def broken():
        yield 1
        yield 2
        raise KeyError("third")

    reader = prefetched(broken(), 4)
    assert [next(reader), next(reader)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(reader)


def test_no_more_is_made_than_may_wait_and_an_early_end_ends_its_thread():
    made, before = [], threading.active_count()
    reader = prefetched((made.append(i) or i for i in range(1000)), 3)
    assert next(reader) == 0
    time.sleep(0.1)
    assert len(made) <= 1 + 3 + 1  # taken, waiting, in the hand
    reader.close()
    assert threading.active_count() == before and len(made) < 10


def test_it_reads_while_others_work():
    second = threading.Event()

    def items():
        yield 1
        second.set()
        yield 2

    reader = prefetched(items(), 1)
    assert next(reader) == 1
    assert second.wait(30), "it is made though nobody has asked for it yet"
    assert list(reader) == [2]
