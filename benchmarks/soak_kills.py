"""Writers of single files, and the recorder, killed by SIGKILL at any moment: what was written before is whole."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from soak_file_writer import write_forever
from soak_inputs import kill, start
from std_msgs.msg import Header

from add_model.weights_file import load
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages
from training.checkpoints import load_checkpoint
from training.data.kitti.calib import read_calib
from training.data.kitti.labels import read_objects

KILLS = 20
PATIENCE = 3  # times as long may it take until there are twenty
_BUFFERED = 2.0  # seconds: the recorder commits each second, and on a busy machine a message is on its way for a while
_WHOLE: dict[str, Callable[[Path], object]] = {
    "labels.txt": lambda path: len(read_objects(path)) == 40,
    "calib.txt": lambda path: read_calib(path).P2.shape == (3, 4),
    "page.html": lambda path: path.read_text().endswith("</html>"),
    "table.json": lambda path: len(json.loads(path.read_text())) == 20_000,
    "picture.png": lambda path: cv2.imread(str(path)).shape == (96, 320, 3),
    "weights.safetensors": load,
    "last.ckpt": load_checkpoint,
}


def files(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures) of twenty kills among writers of each kind of file, a little longer on a busy machine."""
    rng, end, kills, broken = np.random.default_rng(seed), time.monotonic() + PATIENCE * seconds, 0, []
    # Importing takes longer than all the rest: one process does that, and every writer is a fork of it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "soak_file_writer"])
    while kills < KILLS and time.monotonic() < end:
        began = {name: (folder / name).stat().st_mtime_ns if (folder / name).exists() else 0 for name in _WHOLE}
        process = context.Process(target=write_forever, args=(folder,))
        process.start()
        while process.is_alive() and not _at_work(folder, began):
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.0))
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            return f"the writer ended by itself with {process.exitcode} after {kills} SIGKILLs", 1
        kills += 1
        for name, whole in _WHOLE.items():
            try:
                broken += [] if whole(folder / name) else [name]
            except Exception as error:
                broken.append(f"{name}: {type(error).__name__}")
    worst = f"; not survived: {', '.join(sorted(set(broken)))}" if broken else ""
    few = "" if kills == KILLS else f" (time for {kills} of {KILLS})"
    return f"{kills} SIGKILLs{few}, {len(_WHOLE)} kinds of files, {len(broken)} not whole{worst}", len(broken)


def _at_work(folder: Path, began: dict[str, int]) -> bool:
    """Whether there is a file of each kind, and one of them is another than it was."""
    times = {name: (folder / name).stat().st_mtime_ns for name in _WHOLE if (folder / name).exists()}
    return times.keys() == _WHOLE.keys() and times != began


def recorder(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): of a killed recorder all but the last moment is there, in both storages."""
    rng, end, kills, wrong, kept = np.random.default_rng(seed), time.monotonic() + seconds, 0, [], 0
    oldest, dropped = 0.0, 0
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("soak_source")
    # What is sent before a recorder has found it must not be taken for lost.
    latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    try:
        while kills < 2 * KILLS and time.monotonic() < end:
            bags = {storage: folder / f"{storage}_{kills}" for storage in ("mcap", "sqlite3")}
            topic = f"soak_topic_{kills}"  # killed recorders count as subscribers for a while
            publisher = node.create_publisher(Header, topic, latched)
            record = ["bag", "record", "--storage"]
            processes = [start([*record, storage, str(bag), topic], folder) for storage, bag in bags.items()]
            sent = _publish(publisher, processes, rng.uniform(3.0, 5.0))
            moment = time.time_ns()
            for process in processes:
                kills += kill(process)
            node.destroy_publisher(publisher)
            for storage, bag in bags.items():
                found = _stamps(bag)
                kept += len(found)
                # What came before it had found the publisher, or while the disk held it up, the kill has not taken.
                first, last = min(found, default=0), max(found, default=0)
                dropped += last - first + 1 - len(found) if found else 0
                age = (moment - sent[last + 1]) / 1e9 if last + 1 in sent else 0.0
                oldest = max(oldest, age)
                if age > _BUFFERED:
                    wrong.append(f"{storage}: {age:.1f} s missing")
    finally:
        node.destroy_node()
        rclpy.shutdown()
    worst = f"; not survived: {', '.join(wrong[:5])}" if wrong else ""
    figures = (
        f"{kills} SIGKILLs, {kept} messages kept, {dropped} dropped before, at most the last {oldest:.1f} s missing"
    )
    return f"{figures}{worst}", len(wrong)


def _publish(publisher: object, processes: list[subprocess.Popen[str]], seconds: float) -> dict[int, int]:
    """Number -> time of sending, from when all recorders listen."""
    patience = time.monotonic() + 60
    while publisher.get_subscription_count() < len(processes) and time.monotonic() < patience:
        time.sleep(0.02)
    time.sleep(1.0)
    sent, end = {}, time.monotonic() + seconds
    while time.monotonic() < end:
        number = len(sent) + 1
        message = Header(frame_id="x" * 200)
        message.stamp.sec = number
        sent[number] = time.time_ns()
        publisher.publish(message)
        time.sleep(0.02)
    return sent


def _stamps(bag: Path) -> set[int]:
    found = set()
    with open_bag(bag) as reader, suppress(BagError):  # raised after the last message: nobody has closed the bag
        for _, _, data in raw_messages(reader):
            found.add(int.from_bytes(data[4:8], "little"))
    return found
