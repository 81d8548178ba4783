"""One HTML page about results: add-ros report --labels DIR --results DIR --images DIR --out FILE.html.

AP table, precision-recall curves, errors against distance, and the worst misses and false positives as pictures.
With --kitti DIR the folders are those of KITTI's layout, and with --model FILE the results are predicted first. The
classes are those of --classes FILE, of the model, or KITTI's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from add_model.atomic_io import require_writable, write_atomically
from add_model.classes import KITTI_CLASSES, ClassSpec
from add_model.geometry.camera import Camera
from add_model.metadata import read_classes
from training.arguments import at_least, command_parser, share
from training.data.images import IMAGE_SUFFIXES, read_image
from training.data.kitti.calib import read_calib
from training.data.kitti.dataset import split_folder
from training.data.text_files import is_left_behind
from training.evaluation.folders import FolderError, read_frames
from training.report.page import LoadImage, render
from training.reported_errors import reported


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "report",
        "Make one HTML page about results: AP table, precision-recall curves, errors against distance, and the worst "
        "misses and false positives as pictures.",
        "--kitti DIR --model weights.onnx --ids chen_val --out report.html",
    )
    frames = options.add_argument_group("frames and labels")
    frames.add_argument("--kitti", type=Path, metavar="DIR", help="KITTI object folder: gives labels, images, calib")
    frames.add_argument("--labels", type=Path, metavar="DIR", help="label files (default: label_2 of --kitti)")
    frames.add_argument("--images", type=Path, metavar="DIR", help="images; without them the page has no pictures")
    frames.add_argument("--calib", type=Path, metavar="DIR", help="calibrations (default: calib beside the images)")
    frames.add_argument("--ids", metavar="FILE", help="frame ids, one per line, or chen_val (default: all labelled)")
    what = options.add_argument_group("what is scored")
    source = what.add_mutually_exclusive_group(required=True)
    source.add_argument("--results", type=Path, metavar="DIR", help="result files, one per frame")
    source.add_argument("--model", type=Path, metavar="FILE", help="predict with this model; needs --kitti")
    what.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="classes to score: a JSON file, or a model that names them (default: those of --model, else KITTI's)",
    )
    page = options.add_argument_group("page")
    page.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page to write")
    page.add_argument("--title", default="Detection report", help="heading of the page")
    page.add_argument("--score", type=share, help="least score in pictures and errors (default: best F1 per class)")
    page.add_argument("--pictures", type=at_least(0), default=6, help="misses and false positives shown per class (6)")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 where there is nothing that can be reported."""
    command = parser()
    options = command.parse_args(arguments)
    if options.kitti is None and (options.model or options.labels is None):
        command.error("--model needs --kitti" if options.model else "give --kitti, or --labels and --results")
    if options.calib and not (options.images or options.kitti):
        command.error("--calib is about pictures: give --images too, or leave it out")
    return reported(partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    require_writable(options.out)
    folder = None if options.kitti is None else split_folder(options.kitti, "training")
    labels = options.labels or folder / "label_2"
    images = options.images or (folder / "image_2" if folder else None)
    calib = options.calib or (images.parent / "calib" if images else None)
    with tempfile.TemporaryDirectory() as temporary:
        results, classes = options.results, _classes(options)
        if options.model:
            results = _predict(options.kitti, options.model, options.ids, Path(temporary) / "results")
        frames = read_frames(labels, results, options.ids, classes, options.kitti)
        load = None if images is None else _loader(images, calib, frames.ids)
        page = render(frames, options.title, load, options.pictures, options.score)
    write_atomically(options.out, page)
    for note in frames.notes():
        print(note)
    print(options.out)


def _classes(options: argparse.Namespace) -> ClassSpec:
    if options.classes:
        return read_classes(options.classes)
    if options.model:
        from add_model.predictor import model_file

        return read_classes(model_file(options.model))
    return KITTI_CLASSES


def _predict(kitti: Path, model: Path, ids: str | None, out: Path) -> Path:
    from training.predict import main as predict

    status = predict(
        ["--kitti", str(kitti), "--model", str(model), "--out", str(out), *(["--ids", ids] if ids else [])]
    )
    if status:
        raise FolderError(f"prediction with {model} failed")
    return out


def _loader(images: Path, calib: Path, ids: list[str]) -> LoadImage:
    if not images.is_dir():
        raise FolderError(f"the image folder {images} does not exist or is not a folder")
    there = (path for path in images.iterdir() if not is_left_behind(path.name))
    files = {path.stem: path for path in there if path.suffix.lower() in IMAGE_SUFFIXES}
    missing = [name for name in ids if name not in files]
    missing_calib = [name for name in ids if not (calib / f"{name}.txt").is_file()]
    for kind, where, names in (("images", images, missing), ("calibrations", calib, missing_calib)):
        if names:
            raise FolderError(f"{len(names)} frames have no {kind} in {where}: {', '.join(names[:10])}")

    def load(name: str) -> tuple[np.ndarray, Camera]:
        image = read_image(files[name])
        return image, Camera(read_calib(calib / f"{name}.txt").P2, image.shape[1], image.shape[0])

    return load


if __name__ == "__main__":
    sys.exit(main())
