"""Writers of single files, and the recorder, killed by SIGKILL at any moment: what was written before is whole."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from soak_inputs import kill, start
from std_msgs.msg import Header

from add_model.weights_file import load
from add_ros.bags.errors import BagError
from add_ros.bags.reading import open_bag, raw_messages
from training.checkpoints import load_checkpoint
from training.data.kitti.calib import read_calib
from training.data.kitti.labels import read_objects

KILLS = 20
_BUFFERED = 2.0  # seconds: the recorder commits each second, and on a busy machine a message is on its way for a while
# Each kind of file, written again and again as fast as the disk takes it.
_PROGRAM = """
import itertools, json, sys
from pathlib import Path
import cv2, numpy as np
from add_model.atomic_io import write_atomically, write_quickly
from add_model.classes import KITTI_CLASSES
from add_model.registry import build
from add_model.weights_file import save
from training.checkpoints import AtomicCheckpoints
from training.data.kitti.calib import write_calib
from training.data.kitti.labels import read_objects, write_objects
folder, detector = Path(sys.argv[1]), build("monodle_lite0", KITTI_CLASSES)
(folder / "given.txt").write_text("Car 0.00 0 0.3 100 100 200 180 1.5 1.6 4.0 0.0 1.6 20.0 0.0\\n" * 40)
objects, state = read_objects(folder / "given.txt"), detector.state_dict()
picture = np.random.default_rng(0).integers(0, 255, (96, 320, 3), np.uint8)
for n in itertools.count():
    write_objects(folder / "labels.txt", objects)
    write_calib(folder / "calib.txt", np.eye(3, 4) * (1 + n))
    write_atomically(folder / "page.html", "<html>" + "x" * 300_000 + "</html>")
    write_atomically(folder / "table.json", json.dumps(list(range(20_000))))
    write_quickly(folder / "picture.png", cv2.imencode(".png", picture)[1].tobytes())
    if n % 5 == 0:
        save(folder / "weights.safetensors", "monodle_lite0", detector)
        made = {"model_name": "monodle_lite0", "state_dict": {f"detector.{k}": v for k, v in state.items()}}
        AtomicCheckpoints().save_checkpoint(made, folder / "last.ckpt")
"""
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
    """(figures, failures) of twenty kills among writers of each kind of file."""
    rng, end, kills, broken = np.random.default_rng(seed), time.monotonic() + seconds, 0, []
    while kills < KILLS and time.monotonic() < end:
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(folder)])
        began = {name: (folder / name).stat().st_mtime_ns if (folder / name).exists() else 0 for name in _WHOLE}
        while (process.poll() is None and (folder / "last.ckpt").exists() is False) or _same(folder, began):
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.7))
        process.kill()
        process.wait()
        kills += 1
        for name, whole in _WHOLE.items():
            try:
                broken += [] if whole(folder / name) else [name]
            except Exception as error:
                broken.append(f"{name}: {type(error).__name__}")
    worst = f"; not survived: {', '.join(sorted(set(broken)))}" if broken else ""
    return f"{kills} SIGKILLs, {len(_WHOLE)} kinds of files, {len(broken)} not whole{worst}", len(broken)


def _same(folder: Path, began: dict[str, int]) -> bool:
    return any(not (folder / name).exists() or (folder / name).stat().st_mtime_ns == at for name, at in began.items())


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
