"""Images a second of the training loader alone: KITTI frames read, augmented, resampled and batched by workers.

python benchmarks/loader.py --kitti DIR [--depth lidar] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from training.data import augment
from training.data.kitti import DEPTH_SOURCES, KittiFolder, read_ids
from training.data.rng import generator

SIZES = ((640, 192), (1280, 384))


class Views(Dataset):
    """`count` augmented views of the frames, over and over: flip, scale and shift, photometric."""

    def __init__(self, frames: KittiFolder, size: tuple[int, int], count: int) -> None:
        self.frames, self.size, self.count = frames, size, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: int) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, index = divmod(key, len(self.frames))
        rng, sample = generator(0, epoch, index), self.frames.sample(index)
        if rng.random() < 0.5:
            sample = augment.flip(sample)
        sample = augment.scale_shift(sample, rng, size=self.size)
        depth = np.zeros((0, 0), np.float32) if sample.depth is None else sample.depth
        return torch.from_numpy(augment.photometric(sample.image, rng)), torch.from_numpy(depth)


def rate(views: Views, workers: int, batch: int) -> tuple[float, float]:
    """(images a second, CPU milliseconds an image) once the first batch of every worker is there."""
    loader = DataLoader(views, batch_size=batch, num_workers=workers, worker_init_fn=_one_thread)
    batches = iter(loader)
    skipped = max(1, workers)
    for _ in range(skipped):
        next(batches)
    start, seen = time.perf_counter(), sum(len(images) for images, _ in batches)
    seconds = time.perf_counter() - start
    return seen / seconds, 1000 * _cpu_of_one(views)


def _cpu_of_one(views: Views, count: int = 30) -> float:
    start = time.process_time()
    for key in range(count):
        views[key]
    return (time.process_time() - start) / count


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, required=True, help="folder in KITTI's object layout")
    parser.add_argument("--ids", help="file of frame ids, chen_train or chen_val (default: all frames)")
    parser.add_argument("--depth", choices=DEPTH_SOURCES, help="depth maps to make beside the images")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=800)
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    frames = KittiFolder(arguments.kitti, arguments.ids and read_ids(arguments.ids), depth=arguments.depth)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{len(frames)} frames, depth {arguments.depth or 'none'}, {arguments.workers} workers, batches of "
        f"{arguments.batch}; {os.cpu_count()} cores ({platform.machine()}), load before the run {load:.1f}"
    )
    for size in SIZES:
        images, cpu = rate(Views(frames, size, arguments.images), arguments.workers, arguments.batch)
        print(f"{size[0]}x{size[1]}: {images:.0f} images/s, {cpu:.1f} ms of CPU an image")


if __name__ == "__main__":
    main()
