"""Image and camera in, detections out: what the node, the bag tools and the commands all call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from add_model.backends.select import open_backend
from add_model.candidates import Candidates
from add_model.classes import ClassSpec
from add_model.cores import capped_threads
from add_model.detections import Detections
from add_model.errors import ModelError
from add_model.flip_test import average, flip_candidates
from add_model.geometry.camera import Camera
from add_model.geometry.level import level_view, turned_back
from add_model.ground import Ground, stood_on
from add_model.preprocessing import (
    half_is_enough,
    half_size,
    network_size,
    postprocess,
    preprocess,
)

__all__ = ["SHIPPED_MODEL", "ModelError", "Predictor", "model_file"]

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED_MODEL = _WEIGHTS / "monodle_lite0.onnx"


class Predictor:
    """A loaded detector for images of any size and any pinhole camera.

    Args:
        model: As `model_file` takes it.
        device: 'auto' (CUDA where there is a device), 'cpu', 'cuda', 'cuda:N' (the GPU of that number), 'igpu' or 'npu'
            (Intel's, by OpenVINO). Where it can't be had, the CPU is used and `device_note` says why.
        threads: CPU threads, None for all cores that this process may use, but four at most.
        max_pixels: The most pixels the network is given, by default twice what it takes for a KITTI image. Images that
            would have more at the network's focal length are scaled down further, and depths are scaled accordingly.
        engine: One of `add_model.backends.select.ENGINES`; 'auto' takes the fastest one for the device.
        engine_options: Passed to the engine as they are, see docs/user/deployment.md.
        flip_test: Whether each image is seen mirrored too and both answers are averaged: better, in twice the time.

    Raises:
        ModelError: Where the model can't be used.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        device: str = "auto",
        threads: int | None = None,
        max_pixels: int | None = None,
        engine: str = "auto",
        engine_options: Mapping[str, str] | None = None,
        flip_test: bool = True,
    ) -> None:
        self.model_path = model_file(model)
        threads, too_many = capped_threads(threads)
        self._backend, self.device_note = open_backend(self.model_path, device, threads, engine, engine_options)
        self.device_note = "; ".join(filter(None, (self.device_note, too_many))) or None
        self._max_pixels = max_pixels
        self.flip_test = flip_test

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the network's labels."""
        return self._backend.classes.names

    @property
    def class_spec(self) -> ClassSpec:
        """The classes with all that is known of each."""
        return self._backend.classes

    @property
    def device(self) -> str:
        """The device in use: 'cpu', 'cuda', 'cuda:N', 'igpu' or 'npu'."""
        return self._backend.device

    @property
    def engine(self) -> str:
        """The engine in use: 'onnxruntime', 'openvino', 'tensorrt' or 'torch'."""
        return self._backend.engine

    @property
    def precision(self) -> str:
        """Of the network's multiplications: 'float32', 'bfloat16' or 'float16'."""
        return self._backend.precision

    @property
    def description(self) -> str:
        """The model and how it runs, for logs: scores differ a little by engine, and by the flip test."""
        flip_test = ", flip test" if self.flip_test else ""
        return f"model {self.model_path} on {self.device}, in {self.engine} ({self.precision}){flip_test}"

    def predict(
        self,
        image: np.ndarray,
        camera: Camera,
        score_threshold: float = 0.0,
        up: np.ndarray | None = None,
        ground: Ground | None = None,
    ) -> Detections:
        """Detections with at least this score, best first, with boxes in the frame of camera.P.

        Args:
            image: (H, W, 3) uint8 RGB, rectified; without `up` also decoded at half its size, see `half_is_enough`.
            camera: Of this image at its full size, which the boxes are for.
            score_threshold: 0 to 1.
            up: (3,) direction in the camera's frame that points up, of a camera that looks down or rolls: the network
                is shown the view of a level camera, and its boxes are turned back, so that they stand on the floor.
            ground: What things stand on, where it is known: it says how far they are.

        Raises:
            ValueError: Where the image is something else, or not of the camera's size, or there is no level view.
        """
        return self.predict_batch([image], [camera], score_threshold, [up], [ground])[0]

    def half_is_enough(self, camera: Camera) -> bool:
        """Whether the network is given so few of this camera's pixels that images may be decoded at half their size.

        A pixel is two by two then: what `cv2.IMREAD_REDUCED_COLOR_2` does with a JPEG, in less time.
        """
        return half_is_enough(camera, self._backend.focal, self._max_pixels)

    def warm_up(self, camera: Camera, up: np.ndarray | None = None) -> None:
        """Run the network once at the size at which it sees this camera's images, `up` being as `predict` has it.

        An engine prepares itself for each size: the first image of a size takes up to twice as long as others on a CPU,
        and where TensorRT builds an engine for it, minutes.
        """
        view = camera if up is None else level_view(camera, up).camera
        width, height = network_size(view, self._backend.focal, self._max_pixels)
        self.predict(np.zeros((height, width, 3), np.uint8), view.resize(width, height))

    def predict_batch(
        self,
        images: Sequence[np.ndarray],
        cameras: Sequence[Camera],
        score_threshold: float = 0.0,
        ups: Sequence[np.ndarray | None] | None = None,
        grounds: Sequence[Ground | None] | None = None,
    ) -> list[Detections]:
        """What `predict` gives for each image. Those that the network sees at the same size go through it together.

        Raises ValueError as `predict` does.
        """
        ups, grounds = ups or [None] * len(cameras), grounds or [None] * len(cameras)
        for image, camera, up, _ in zip(images, cameras, ups, grounds, strict=True):
            self._require_image(image, camera, up)
        views = [None if up is None else level_view(camera, up) for camera, up in zip(cameras, ups, strict=True)]
        given = cameras
        images = [i if view is None else view.warp(i) for i, view in zip(images, views, strict=True)]
        cameras = [camera if view is None else view.camera for camera, view in zip(cameras, views, strict=True)]
        backend = self._backend
        prepared = [
            preprocess(image, camera, backend.focal, backend.size_multiple, self._max_pixels)
            for image, camera in zip(images, cameras, strict=True)
        ]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, (canvas, _) in enumerate(prepared):
            by_size.setdefault(canvas.shape, []).append(i)
        found: dict[int, Detections] = {}
        for rows in by_size.values():
            for i, candidates in zip(rows, self._candidates([prepared[i] for i in rows]), strict=True):
                seen, view = prepared[i][1], views[i]
                answer = postprocess(candidates, self.class_spec, cameras[i], seen, backend.nms, score_threshold)
                answer = answer if view is None else turned_back(answer, view, given[i])
                ground = grounds[i]
                found[i] = answer if ground is None else stood_on(answer, ground, given[i])
        return [found[i] for i in range(len(images))]

    def _candidates(self, prepared: Sequence[tuple[np.ndarray, Camera]]) -> list[Candidates]:
        """What the network finds on canvases of one size."""
        canvases, seen = zip(*prepared, strict=True)
        if not self.flip_test:
            return list(self._backend(np.stack(canvases), np.stack([camera.P for camera in seen])))
        mirrored = [cv2.flip(canvas, 1) for canvas in canvases]
        P = np.stack([camera.P for camera in seen] + [camera.flip().P for camera in seen])
        answers = list(self._backend(np.stack([*canvases, *mirrored]), P))
        own, other = answers[: len(seen)], answers[len(seen) :]
        flipped = [flip_candidates(one, camera.width) for one, camera in zip(other, seen, strict=True)]
        return [average(*both) for both in zip(own, flipped, strict=True)]

    def _require_image(self, image: np.ndarray, camera: Camera, up: np.ndarray | None) -> None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        size, whole = image.shape[1::-1], (camera.width, camera.height)
        if size != whole and not (up is None and size == half_size(camera) and self.half_is_enough(camera)):
            raise ValueError(f"image is {size[0]}x{size[1]} but the camera is {whole[0]}x{whole[1]}")


def model_file(model: str | Path | None) -> Path:
    """The file that is meant by the path of an .onnx or .safetensors file, by the name of weights that ship with the
    package ('monodle_lite0'), or by None, which is the weights that ship. Raises ModelError where it is none of these.
    """
    if not model:
        return SHIPPED_MODEL
    path = Path(model).expanduser()
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(_WEIGHTS.glob("*.onnx"))}
    if str(model) not in shipped:
        raise ModelError(
            f"model {str(model)!r} does not exist: it is neither a file nor one of the weights that ship here"
            f" ({', '.join(shipped) or 'none'}); give the path of an .onnx or .safetensors file, as"
            " add-ros export writes them"
        )
    return shipped[str(model)]
