"""What a cheaper heatmap head costs: python benchmarks/head_shape.py [--train DIR IDS] [--held-out WEIGHTS IDS ...]

The 3x3 convolution of the shipped network's heatmap head, 64 -> 128 channels, is a third of its operations. Cheaper
heads learn to answer as it does, from its own features of rendered streets and of --train, with all else as it is: so
what is lost is the head's. Then AP_R40, moderate, percent, with the flip test, on unseen streets and, with --held-out,
on real frames by weights (.safetensors) that did not see them; the difference with its 95% interval (bootstrap over
images). And the processor time of one image on one thread, all heads taking turns. Networks lie in runs/head_shape and
are made once: empty it to learn from other frames.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from seen import Seen, add_held_out_argument, frames, held_out, print_changes, seen, streets
from speed import in_turns, lean_engines
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook
from tqdm import tqdm

from add_model.detectors.monodle.detector import MonoDLE
from add_model.export import export_onnx
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_model.weights_file import load
from training.data.sample import Sample

RUNS = Path("runs/head_shape")
SEED, RESAMPLES, LEARNT_FROM, EPOCHS, BATCH = 91, 300, 200, 10, 4
MEASURES = (
    ("Car", "bbox", "strict"), ("Pedestrian", "bbox", "strict"), ("Cyclist", "bbox", "strict"),
    ("Car", "bev", "loose"), ("Car", "3d", "loose"),
)  # fmt: skip


def separable(teacher: nn.Sequential) -> nn.Sequential:
    """64 3x3 convolutions of a channel each and a 1x1 one, which begin as what the teacher's weights come to."""
    first, _, last = teacher
    depthwise, pointwise = nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 128, 1)
    with torch.no_grad():
        depthwise.weight.zero_()
        depthwise.weight[:, 0, 1, 1] = 1
        depthwise.bias.zero_()
        pointwise.weight.copy_(first.weight.sum((2, 3), keepdim=True))
        pointwise.bias.copy_(first.bias)
    return nn.Sequential(depthwise, pointwise, nn.ReLU(), copy.deepcopy(last))


def narrow(teacher: nn.Sequential) -> nn.Sequential:
    """Half as many channels, of random weights."""
    return nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, teacher[-1].out_channels, 1))


HEADS = {"separable": separable, "narrow": narrow}


def maps_of(weights: Path, samples: Iterable[Sample]) -> list[Tensor]:
    """What the heatmap head sees of each image and of its mirror image: (C, h, w) each."""
    predictor = Predictor(weights, device="cpu", engine="torch", threads=1)
    maps: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, MonoDLE):
            maps.extend(module.extract_features(*given).half().unbind(0))

    hook = register_module_forward_pre_hook(keep)
    for sample in tqdm(samples, "features", disable=None):
        predictor.predict(sample.image, sample.camera)
    hook.remove()
    return maps


def imitated(teacher: nn.Module, student: nn.Module, maps: list[Tensor]) -> None:
    """Train a head to answer as another one does; cells count the more, the more there is."""
    steps = EPOCHS * (len(maps) // BATCH)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in tqdm(range(steps), "head", disable=None):
        order = np.random.default_rng(step * BATCH // len(maps)).permutation(len(maps))
        chosen = [maps[order[(step * BATCH + k) % len(maps)]] for k in range(BATCH)]
        loss = torch.zeros(())
        for features in (one.float()[None] for one in chosen):
            with torch.no_grad():
                wanted = teacher(features).sigmoid()
            entropy = functional.binary_cross_entropy_with_logits(student(features), wanted, reduction="none")
            loss = loss + ((1 + 30 * wanted.sqrt()) * entropy).sum() / 100
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def with_heads(weights: Path, samples: Callable[[], Iterable[Sample]]) -> dict[str, Path]:
    """The network of a file as it is, and with each cheaper head: .onnx files."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    made = {name: RUNS / f"{weights.stem}_{digest}_{name}.onnx" for name in ("as_it_is", *HEADS)}
    missing = {name: path for name, path in made.items() if not path.is_file()}
    RUNS.mkdir(parents=True, exist_ok=True)
    maps = maps_of(weights, samples()) if missing.keys() & HEADS.keys() else []
    for name, path in missing.items():
        network = load(weights).eval()
        if name in HEADS:
            torch.manual_seed(0)
            head = HEADS[name](network.heatmap_head)
            imitated(network.heatmap_head, head, maps)
            network.heatmap_head = head.eval()
        export_onnx(network, path)
    return made


def compare(name: str, images: dict[str, list[Seen]]) -> None:
    """Print a row for each head and measure."""
    for head in HEADS:
        print_changes(f"{name:8} {head:10}", images["as_it_is"], images[head], MEASURES, SEED, RESAMPLES)


def measure_time(made: dict[str, Path], repeats: int = 40) -> None:
    """Print milliseconds of one image of KITTI's size, seen once."""
    (sample,) = streets(SEED, 0, 1)
    for engine in lean_engines():
        options = {"device": "cpu", "threads": 1, "engine": engine, "flip_test": False}
        predictors = [Predictor(path, **options) for path in made.values()]
        taken = in_turns([partial(p.predict, sample.image, sample.camera) for p in predictors], repeats)
        cpu = {name: times[0] for name, times in zip(made, taken, strict=True)}
        for name in made:
            print(f"{engine:12} {name:10} {cpu[name]:.1f} ms, {cpu[name] / cpu['as_it_is']:.2f} of the head as it is")


def main() -> None:
    """Train heads, compare, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, metavar="DIR", help="folder in KITTI's layout of the --held-out frames")
    parser.add_argument(
        "--train", nargs=2, type=Path, metavar=("DIR", "IDS"), help="real frames for the heads to learn from as well"
    )
    add_held_out_argument(parser)
    parser.add_argument("--streets", type=int, default=200, help="default: %(default)s")
    options = parser.parse_args()
    if options.held_out and options.kitti is None:
        parser.error("--held-out is about frames of --kitti: give that too")
    torch.set_num_threads(1)

    def samples() -> Iterable[Sample]:
        yield from streets(SEED + 1, 0, LEARNT_FROM)
        if options.train:
            yield from frames(*options.train)

    shipped = with_heads(SHIPPED_MODEL.with_suffix(".safetensors"), samples)
    measure_time(shipped)
    ways = {name: Predictor(path, device="cpu", engine="onnxruntime", threads=1) for name, path in shipped.items()}
    compare("streets", {name: seen(way, streets(SEED, 0, options.streets)) for name, way in ways.items()})
    if options.held_out:
        parts = [(with_heads(Path(weights), samples), ids) for weights, ids in options.held_out]
        names = ("as_it_is", *HEADS)
        compare("KITTI", {n: held_out(options.kitti, [(str(made[n]), ids) for made, ids in parts]) for n in names})


if __name__ == "__main__":
    main()
