"""add-ros memory --config RECIPE: how much memory a training needs, and which batch fits which GPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from training.arguments import at_least, command_parser
from training.errors import TrainingError
from training.reported_errors import exit_status

PRECISIONS = ("32-true", "bf16-mixed")
GPUS = (12, 16, 24, 40, 48, 80)  # GB
_CONTEXT, _SPARE = 0.6, 0.1  # GB of the driver's and cuDNN's own, and the share that is lost between tensors


@dataclass(frozen=True)
class Need:
    """Memory of a training step in GB: that of weights, gradients and the optimizer, and what each frame adds."""

    fixed: float
    per_frame: float

    @classmethod
    def of(cls, peaks: Mapping[int, float]) -> Need:
        """The line through the peaks of the smallest and the largest batch: {frames: GB}."""
        low, high = min(peaks), max(peaks)
        per_frame = (peaks[high] - peaks[low]) / (high - low)
        return cls(peaks[low] - per_frame * low, per_frame)

    def peak(self, frames: int) -> float:
        """Of a batch, GB."""
        return self.fixed + self.per_frame * frames

    def fitting(self, gpu: float, batch: int) -> int | None:
        """The largest part of a batch that divides it and fits a GPU of so many GB; None where no frame fits."""
        room = gpu * (1 - _SPARE) - _CONTEXT
        parts = [n for n in range(1, batch + 1) if batch % n == 0 and self.peak(n) <= room]
        return max(parts, default=None)


def table(needs: Mapping[str, Need], batch: int) -> str:
    """What the published batch needs, and what fits each GPU, as lines."""
    lines = [f"{name}: {n.fixed:.1f} GB + {n.per_frame:.2f} GB a frame; {batch} frames: {n.peak(batch):.1f} GB"
             for name, n in needs.items()]  # fmt: skip
    lines.append(f"\nfor batches of {batch}:")
    for gpu in GPUS:
        for name, need in needs.items():
            part = need.fitting(gpu, batch)
            if part is None:
                lines.append(f"{gpu:>3} GB  {name:<10}  does not fit")
                continue
            options = f"--data.batch_size {part} --trainer.accumulate_grad_batches {batch // part}"
            lines.append(f"{gpu:>3} GB  {name:<10}  {options}  ({need.peak(part):.1f} GB)")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "memory",
        "Say how much memory a recipe's training needs, and which batch fits which GPU. Takes real steps with small "
        "batches of rendered streets, here and now, and extrapolates; no data and no weights are needed. Options that "
        "are not listed here are those of fit.",
        "--config config/train/recipes/monodle_kitti.yaml",
        allow_abbrev=False,
    )
    steps = options.add_argument_group("measured steps")
    steps.add_argument(
        "-c", "--config", action="append", required=True, metavar="FILE", help="configuration, as for fit; repeatable"
    )
    steps.add_argument(
        "--batches", type=at_least(1), nargs="+", default=[1, 2], metavar="N", help="frames: default 1 2"
    )
    steps.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="default: both")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return exit_status(_run, arguments)


def _run(arguments: list[str]) -> int:
    options, fit_options = parser().parse_known_args(arguments)
    if len(set(options.batches)) < 2 or min(options.batches) < 1:
        raise TrainingError(f"--batches {' '.join(map(str, options.batches))}: give two numbers of frames, such as 1 2")
    from training.step_memory import measure_recipe  # with torch, which takes seconds to import

    recipe = [word for file in options.config for word in ("--config", file)]
    device, batch, peaks = measure_recipe([*recipe, *fit_options], options.batches, options.precisions)
    for precision, found in peaks.items():
        print(f"{precision}: {', '.join(f'{n} frames {peak:.2f} GB' for n, peak in found.items())}")
    how = "torch's allocator" if device.startswith("cuda") else "the tensors that live; a GPU's kernels use some more"
    print(f"measured on {device} by {how}")
    print(table({precision: Need.of(found) for precision, found in peaks.items()}, batch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
