"""sqlite3 bags whose recorder was killed: messages that are still in the -wal, or half written by the -journal."""

import shutil
import sqlite3

import pytest
from support.bag_bench import drive, indices

from add_ros.bags.frames import BagFrames
from add_ros.bags.reading import open_bag, raw_messages

FRAMES = 6


def rows(file):
    connection = sqlite3.connect(file)
    found = connection.execute("SELECT timestamp, data FROM messages ORDER BY timestamp, id").fetchall()
    connection.close()
    return found


@pytest.fixture
def whole(tmp_path):
    return drive(tmp_path / "whole", count=FRAMES, storage="sqlite3") / "whole.db3"


def killed_in_wal_mode(whole, folder):
    """A .db3 with half of the messages, the others in the -wal beside it."""
    folder.mkdir()
    shutil.copy(whole, folder / "live.db3")
    live = sqlite3.connect(folder / "live.db3")
    messages = live.execute("SELECT * FROM messages ORDER BY id").fetchall()
    live.execute("DELETE FROM messages")
    live.commit()
    live.execute("PRAGMA journal_mode=WAL")
    live.execute("PRAGMA wal_autocheckpoint=0")
    for number, row in enumerate(messages):
        live.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
        live.commit()
        if number == len(messages) // 2:
            live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (folder / "bag").mkdir()
    for ending in ("", "-wal", "-shm"):
        shutil.copy(folder / f"live.db3{ending}", folder / "bag" / f"bag.db3{ending}")
    live.close()
    return folder / "bag" / "bag.db3"


def read(path):
    with open_bag(path) as reader:
        return [(time, bytes(data)) for _, time, data in raw_messages(reader)], reader.notes


@pytest.mark.parametrize("with_shm", [True, False])
def test_messages_in_the_wal_are_read_and_the_bag_is_left_as_it_is(tmp_path, whole, with_shm):
    file = killed_in_wal_mode(whole, tmp_path / "killed")
    if not with_shm:
        file.with_name("bag.db3-shm").unlink()
    before = {f.name: f.read_bytes() for f in file.parent.iterdir()}
    bare = shutil.copy(file, tmp_path / "bare.db3")
    assert len(read(bare)[0]) < 4 * FRAMES, "the -wal matters here"
    found, notes = read(file)
    assert found == rows(whole)
    assert any("bag.db3-wal" in note for note in notes)
    assert {f.name: f.read_bytes() for f in file.parent.iterdir()} == before
    frames = BagFrames(file.parent)
    assert indices(frames) == list(range(FRAMES))
    assert any("bag.db3-wal" in line for line in frames.summary())


def test_a_wal_that_was_cut_off_gives_what_was_committed_before(tmp_path, whole):
    file = killed_in_wal_mode(whole, tmp_path / "killed")
    wal = file.with_name("bag.db3-wal")
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])
    found, _ = read(file)
    assert len(read(shutil.copy(file, tmp_path / "bare.db3"))[0]) < len(found) < 4 * FRAMES
    assert found == rows(whole)[: len(found)]


def test_an_empty_wal_is_no_matter(whole):
    whole.with_name("whole.db3-wal").touch()
    assert read(whole) == (rows(whole), [])


def test_a_wal_that_cannot_be_taken_in_is_named(tmp_path, whole, monkeypatch):
    file = killed_in_wal_mode(whole, tmp_path / "killed")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("add_ros.bags.storage.shutil.copyfile", full)
    found, (_, note) = read(file.parent)
    assert 0 < len(found) < 4 * FRAMES
    assert "bag.db3-wal is not read (No space left on device)" in note and "wal_checkpoint" in note


def test_a_transaction_that_was_not_committed_is_taken_back(tmp_path, whole):
    """Half of it may stand in the file already: the -journal says what stood there before."""
    expected = rows(whole)
    live = sqlite3.connect(whole, isolation_level=None)
    live.execute("PRAGMA cache_size=1")
    live.execute("BEGIN")
    for _ in range(3):
        live.execute("INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp, data FROM messages")
    for ending in ("", "-journal"):
        shutil.copy(f"{whole}{ending}", tmp_path / f"bag.db3{ending}")
    live.close()
    found, (note,) = read(tmp_path / "bag.db3")
    assert found == expected and "bag.db3-journal" in note


def test_a_wal_of_another_recording_changes_nothing(tmp_path, whole):
    """SQLite takes it in, and finds the file malformed."""
    other = killed_in_wal_mode(whole, tmp_path / "killed")
    shutil.copy(other.with_name("bag.db3-wal"), whole.with_name("whole.db3-wal"))
    expected = rows(shutil.copy(whole, tmp_path / "copy.db3"))
    found, (note,) = read(whole)
    assert found == expected and note == "whole.db3: the log beside it is not its own, and is not read"


@pytest.mark.parametrize("content", [b"\0" * 4096, b"no log at all", b"\x37\x7f\x06\x82" + bytes(100)])
@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_garbage_in_a_log_costs_no_message(whole, ending, content):
    """A -journal whose head is zeros is what journal_mode=PERSIST leaves of every transaction."""
    expected = rows(whole)
    whole.with_name(f"whole.db3{ending}").write_bytes(content)
    assert read(whole)[0] == expected


def test_garbage_in_the_shm_is_no_matter(tmp_path, whole):
    file = killed_in_wal_mode(whole, tmp_path / "killed")
    file.with_name("bag.db3-shm").write_bytes(b"\xff" * 32768)
    assert read(file)[0] == rows(whole)


def test_a_file_in_wal_mode_without_its_logs_is_read_from_a_folder_that_cannot_be_written(tmp_path, whole):
    """As macOS could not (rosbag2 485)."""
    live = sqlite3.connect(whole)
    live.execute("PRAGMA journal_mode=WAL")
    live.close()
    expected = rows(shutil.copy(whole, tmp_path / "copy.db3"))
    whole.parent.chmod(0o500)
    assert read(whole) == (expected, [])
    whole.parent.chmod(0o700)


def test_only_the_last_part_of_a_split_bag_has_a_log(tmp_path, whole):
    last = killed_in_wal_mode(whole, tmp_path / "killed")
    folder = tmp_path / "split"
    folder.mkdir()
    shutil.copy(whole, folder / "split_0.db3")
    for ending in ("", "-wal"):
        shutil.copy(f"{last}{ending}", folder / f"split_1.db3{ending}")
    found, notes = read(folder)
    assert found == 2 * rows(whole) and any("split_1.db3-wal is read" in note for note in notes)
