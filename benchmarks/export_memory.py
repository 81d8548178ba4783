"""Memory and speed of `add-ros bag export` on a long recording: python benchmarks/export_memory.py --frames 100000.

The bag is synthetic: small images with camera_info, labels and a scan each, /tf at five times their rate. It is
written, then exported by the command in a process of its own, whose memory is sampled.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from rosbags.rosbag2 import StoragePlugin, Writer

from add_model.geometry.camera import Camera
from add_ros.bags import messages, types

START, PERIOD = 1_700_000_000 * 10**9, 50_000_000
WIDTH, HEIGHT, POINTS = 160, 120, 500


def write_bag(path: Path, frames: int) -> None:
    """A recording of that many frames, 20 a second."""
    store = types.typestore()
    camera = Camera.pinhole(150, 150, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(16)]
    points = rng.uniform([2, -10, -1, 0], [40, 10, 2, 1], (POINTS, 4)).astype(np.float32)
    box = np.array([[0.0, 0.5, 12.0, 4.0, 1.7, 1.5, 0.3]])
    optical = np.c_[np.array([(0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)]), (0.0, 1.0, 0.0)]
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}

        def put(topic: str, stamp: int, message: object) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], stamp, store.serialize_cdr(message, kind))

        static = messages.transform(store, optical, START, "base_link", "eye")
        static.transforms += messages.transform(store, np.eye(4)[:3], START, "base_link", "lidar").transforms
        put("/tf_static", START, static)
        for i in range(frames):
            stamp = START + i * PERIOD
            for k in range(5):
                pose = np.c_[np.eye(3), (-0.1 * (i + k / 5), 0.0, 0.0)]
                at = stamp + k * PERIOD // 5
                put("/tf", at, messages.transform(store, pose, at, "odom", "base_link"))
            put("/cam/camera_info", stamp, messages.camera_info(store, camera, stamp, "eye"))
            put("/cam/image_rect", stamp, messages.image(store, pictures[i % 16], stamp, "eye"))
            labels = messages.detections(store, np.array(["Car"]), np.ones(1), box, stamp, "eye", ids=["1"])
            put("/cam/ground_truth", stamp, labels)
            put("/points", stamp, messages.point_cloud(store, points, stamp, "lidar"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    frames = parser.parse_args().frames
    with tempfile.TemporaryDirectory() as folder:
        bag, out = Path(folder) / "bag", Path(folder) / "out"
        started = time.perf_counter()
        write_bag(bag, frames)
        size = sum(file.stat().st_size for file in bag.iterdir()) / 1e9
        print(f"{frames} frames, {size:.2f} GB written in {time.perf_counter() - started:.0f} s", flush=True)
        started = time.perf_counter()
        command = [sys.executable, "-m", "add_ros", "bag", "export", str(bag), "--out", str(out), "--jpeg"]
        process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        samples = []
        while process.poll() is None:
            with_memory = process.memory_info().rss / 1e6
            table = out / "frames.tsv"
            samples.append((table.stat().st_size if table.is_file() else 0, with_memory))
            time.sleep(0.5)
        took = time.perf_counter() - started
        if process.returncode:
            sys.exit(f"the export failed with {process.returncode}")
        whole = max(written for written, _ in samples)
        for share in (0.1, 0.25, 0.5, 0.75, 1.0):
            written, memory = min(samples, key=lambda sample: abs(sample[0] - share * whole))
            print(f"  {written / whole:4.0%} exported: {memory:.0f} MB")
        print(f"peak {max(memory for _, memory in samples):.0f} MB, {frames / took:.0f} frames/s, {took:.0f} s in all")


if __name__ == "__main__":
    main()
