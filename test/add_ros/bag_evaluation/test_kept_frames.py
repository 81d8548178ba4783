"""Frames on disk are those that were given, however they are read, and take no memory."""

import pickle
import subprocess
import sys
import tracemalloc
from tempfile import gettempdir

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT

from add_ros.bag_evaluation.kept_frames import KeptFrames

ITEMS = st.lists(st.integers() | st.text() | st.lists(st.floats(allow_nan=False)))


@given(ITEMS, ITEMS, st.data())
def test_it_is_a_list_that_grows(first, more, data):
    kept = KeptFrames(first)
    for item in more:
        kept.append(item)
    whole = first + more
    assert (len(kept), list(kept), list(reversed(kept))) == (len(whole), whole, whole[::-1])
    for index in data.draw(st.lists(st.integers(-len(whole), len(whole) - 1), max_size=5)) if whole else []:
        assert kept[index] == whole[index] and kept[index:] == whole[index:]
    assert list(zip(kept, kept, strict=True)) == list(zip(whole, whole, strict=True)), "two readers at once"
    for index in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError):
            kept[index]


@given(ITEMS)
def test_pickled_it_is_a_copy(items):
    kept = KeptFrames(items)
    copy = pickle.loads(pickle.dumps(kept))
    copy.append(3)
    kept.append("other")
    assert (list(copy), list(kept)) == ([*items, 3], [*items, "other"])


def test_frames_are_not_in_memory():
    kept = KeptFrames([])
    tracemalloc.start()
    for i in range(1000):
        kept.append(np.full(1000, i))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000, "bytes, of 8 million that were given"
    assert [int(kept[i][0]) for i in (0, 500, 999)] == [0, 500, 999]


def test_its_file_is_closed_with_it():
    kept = KeptFrames([1])
    file = kept._file
    del kept
    assert file.closed


def test_a_full_disk_is_named_and_what_was_kept_stays():
    """A limit on the size of files, in a process of its own, says that of the second frame there is no room for all."""
    program = """
import resource, signal
from add_ros.bag_evaluation.kept_frames import KeptFrames
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
kept = KeptFrames(["first"])
try:
    kept.append("x" * 2000)
except OSError as error:
    print(error)
kept.append("third")
print(list(kept))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    message, kept = done.stdout.splitlines()
    assert message.startswith(
        f"frames cannot be kept in {gettempdir()}, the folder of temporary files: File too large."
    )
    assert (kept, done.stderr) == ("['first', 'third']", "")
