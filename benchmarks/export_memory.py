"""Memory and speed of `add-ros bag export` on a long recording: python benchmarks/export_memory.py --frames 100000.

The bag is synthetic: small images with camera_info, labels, a scan and /tf each. It is written, then exported by the
command in a process of its own, whose memory is sampled. The process is killed (SIGKILL) after so many frames, and the
same command goes on. At the end every frame must be there once, with the pixels, the scan and the label of its own
stamp. --minutes ends it with a last kill; what was exported until then is checked in the same way.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from add_model.geometry.camera import Camera
from add_ros.bag_export.dataset_writer import FOLDERS
from add_ros.bag_export.journal import TABLE, read_rows
from add_ros.bags import messages, types

START, PERIOD = 1_700_000_000 * 10**9 + 123_456_789, 50_000_000
WIDTH, HEIGHT, POINTS = 96, 72, 200
SHOWN = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the frames that were exported


def pictures() -> list[np.ndarray]:
    """Images that frames show in turn, of a number that does not divide that of the frames."""
    rng = np.random.default_rng(1)
    return [cv2.resize(rng.integers(0, 255, (9, 12, 3), np.uint8), (WIDTH, HEIGHT)) for _ in range(17)]


def write_bag(path: Path, frames: int) -> None:
    """A recording of that many frames, 20 a second."""
    store = types.typestore()
    camera = Camera.pinhole(150, 150, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    points = np.random.default_rng(0).uniform([2, -10, -1, 0], [40, 10, 2, 1], (POINTS, 4)).astype(np.float32)
    box = np.array([[0.0, 0.5, 12.0, 4.0, 1.7, 1.5, 0.3]])
    optical = np.c_[np.array([(0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)]), (0.0, 1.0, 0.0)]
    moved = np.c_[np.eye(3), (-0.1, 0.0, 0.0)]
    static = messages.transform(store, optical, START, "base_link", "eye")
    static.transforms += messages.transform(store, np.eye(4)[:3], START, "base_link", "lidar").transforms
    labels = messages.detections(store, np.array(["Car"]), np.ones(1), box, START, "eye", ids=["1"])
    every = [
        ("/tf", messages.transform(store, moved, START, "odom", "base_link")),
        ("/cam/camera_info", messages.camera_info(store, camera, START, "eye")),
        ("/cam/ground_truth", labels),
        ("/points", messages.point_cloud(store, points, START, "lidar")),
    ]
    shown = [messages.image(store, picture, START, "eye") for picture in pictures()]
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        # Serialised once: what differs between frames is the stamp.
        def added(topic: str, message: object) -> tuple[Connection, bytes]:
            kind = message.__msgtype__
            connection = next((c for c in writer.connections if c.topic == topic), None)
            connection = connection or writer.add_connection(topic, kind, typestore=store)
            return connection, bytes(store.serialize_cdr(message, kind))

        connection, data = added("/tf_static", static)
        writer.write(connection, START, data)
        templates = [added(topic, message) for topic, message in every]
        images = [added("/cam/image_rect", message) for message in shown]
        first = _stamped(START)
        for i in range(frames):
            stamp = START + i * PERIOD
            for connection, data in (*templates, images[i % len(images)]):
                writer.write(connection, stamp, data.replace(first, _stamped(stamp)))


def _stamped(stamp: int) -> bytes:
    return struct.pack("<iI", *divmod(stamp, 10**9))


def done(out: Path) -> int:
    """How many frames the table of a running export has."""
    table = out / TABLE
    if not table.is_file():
        return 0
    with table.open("rb") as file:
        file.seek(max(0, table.stat().st_size - 1000))
        lines = file.read().split(b"\n")[:-1]
    name = lines[-1].partition(b"\t")[0] if lines else b""
    return int(name) + 1 if name.isdigit() else 0


def export(bag: Path, out: Path, until: int, end: float) -> tuple[list[tuple[int, float]], float]:
    """Run the command, killed once so many frames are there or the monotonic clock is at `end`.

    Returns:
        Samples of (frames done, MB of memory), and the seconds of processor time.
    """
    command = [sys.executable, "-m", "add_ros", "bag", "export", str(bag), "--out", str(out)]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples, used = [], 0.0
    while process.poll() is None:
        try:
            times, memory = process.cpu_times(), process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            break
        used = times.user + times.system
        if memory:  # of an ended process that nobody has waited for it is 0
            samples.append((done(out), memory))
        if (samples and samples[-1][0] >= until) or time.monotonic() > end:
            process.kill()
            break
        time.sleep(0.5)
    if process.wait() not in (0, -9):
        sys.exit(f"the export failed with {process.returncode}")
    return samples, used


def faults(out: Path, frames: int) -> list[str]:
    """What is missing, double or another frame's."""
    rows, shown, found = list(read_rows(out / TABLE)), pictures(), []
    if [row.id for row in rows] != [f"{i:06d}" for i in range(frames)]:
        found.append(f"the table has {len(rows)} rows, not one for each of {frames} frames in turn")
    if [row.stamp for row in rows] != [START + i * PERIOD for i in range(frames)]:
        found.append("the stamps are not those of the bag")
    if any((row.scan_stamp, row.points, row.objects) != (row.stamp, POINTS, 1) for row in rows):
        found.append("a row has not the scan and the label of its stamp")
    for folder in FOLDERS:
        names = [path.stem for path in (out / "training" / folder).iterdir()]
        # A last kill may leave the files of one more frame, and a part of one.
        if not {f"{i:06d}" for i in range(frames)} <= set(names) or len(names) > frames + 2:
            found.append(f"{folder} has {len(names)} files, not one for each of {frames} frames")
    for i in range(frames):
        image = cv2.imread(str(out / "training" / "image_2" / f"{i:06d}.png"))
        if image is None or not np.array_equal(image[..., ::-1], shown[i % len(shown)]):
            found.append(f"image {i} is broken or another frame's")
    return found


def main() -> None:
    """Write, export with kills, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--kill-at", type=int, nargs="+", default=[5_000, 20_000, 70_000], metavar="N", help="frames")
    parser.add_argument("--minutes", type=float, default=600.0, help="after which it is ended")
    options = parser.parse_args()
    frames, end = options.frames, time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        bag, out = Path(folder) / "bag", Path(folder) / "out"
        started = time.process_time()
        write_bag(bag, frames)
        size = sum(file.stat().st_size for file in bag.iterdir()) / 1e9
        print(f"{frames} frames, {size:.2f} GB written in {time.process_time() - started:.0f} s of CPU", flush=True)
        every, seconds = [], 0.0
        for until in [*(n for n in options.kill_at if n < frames), frames + 1]:
            samples, used = export(bag, out, until, end)
            every += samples
            seconds += used
            print(f"{done(out)} frames, peak {max(m for _, m in samples):.0f} MB, {used:.0f} s of CPU", flush=True)
            if time.monotonic() > end:
                break
        exported = done(out)
        for share in SHOWN:
            at, memory = min(every, key=lambda sample: abs(sample[0] - share * exported))
            print(f"  {at} frames exported: {memory:.0f} MB")
        print(f"{1000 * seconds / exported:.1f} ms of CPU a frame, kills and what is read again included")
        wrong = faults(out, exported)
        print("\n".join(wrong[:20]) if wrong else f"all {exported} frames are there once, each with its own files")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
