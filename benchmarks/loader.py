"""Images a second of the training loader alone: KITTI frames read, augmented, coded and batched by workers.

python benchmarks/loader.py --kitti DIR [--depth lidar] [--workers 2] [--image-cache DIR]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import cv2
from torch.utils.data import DataLoader

from add_model.registry import build
from training.data.augmentation import Augmentation
from training.data.collation import collate
from training.data.image_cache import IMAGES, ImageCache
from training.data.kitti.dataset import DEPTH_SOURCES, KittiFolder
from training.data.kitti.splits import read_ids
from training.data.views import TrainingViews

MODELS = {"monodle_lite0": (640, 192), "monodle_dla34": (1280, 384)}


class Over(TrainingViews):
    """Views of the frames, epoch after epoch, as one long data set."""

    def __init__(self, model: str, frames: KittiFolder, size: tuple[int, int], views: int) -> None:
        detector = build(model)
        super().__init__(
            self.of_epoch, len(frames), Augmentation(size=size), detector.target_encoder, 0, detector.focal
        )
        self.folder, self.views = frames, views

    def of_epoch(self, _: int) -> KittiFolder:
        """The same in each."""
        return self.folder

    def __len__(self) -> int:
        return self.views


def rate(views: Over, workers: int, batch: int) -> tuple[float, float]:
    """(images a second, CPU milliseconds an image) once the first batch of every worker is there."""
    loader = DataLoader(
        views,
        batch_size=batch,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        collate_fn=collate,
        worker_init_fn=_one_thread,
    )
    batches = iter(loader)
    skipped = max(1, workers)
    for _ in range(skipped):
        next(batches)
    start, seen = time.perf_counter(), sum(len(each.images) for each in batches)
    seconds = time.perf_counter() - start
    return seen / seconds, 1000 * _cpu_of_one(views)


def _cpu_of_one(views: Over, count: int = 30) -> float:
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
    parser.add_argument("--image-cache", type=Path, help="as data.image_cache; filled before the measurement")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=800)
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    frames = KittiFolder(arguments.kitti, arguments.ids and read_ids(arguments.ids), depth=arguments.depth)
    if arguments.image_cache:
        cache, start = ImageCache(arguments.image_cache), time.perf_counter()
        cache.add([frames.image_path(index) for index in range(len(frames))])
        frames.read_image = cache.read
        size = (arguments.image_cache / IMAGES).stat().st_size / 1e6
        print(f"cache of {size:.0f} MB, {size / len(frames):.2f} an image, after {time.perf_counter() - start:.1f} s")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{len(frames)} frames, depth {arguments.depth or 'none'}, {arguments.workers} workers, batches of "
        f"{arguments.batch}; {os.cpu_count()} cores ({platform.machine()}), load before the run {load:.1f}"
    )
    for model, size in MODELS.items():
        images, cpu = rate(Over(model, frames, size, arguments.images), arguments.workers, arguments.batch)
        print(f"{model}, {size[0]}x{size[1]}: {images:.0f} images/s, {cpu:.1f} ms of CPU an image")


if __name__ == "__main__":
    main()
