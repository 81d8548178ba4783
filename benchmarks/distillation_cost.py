"""What a training step costs: student alone, teacher, and student + ADD, taking turns in one run.

python benchmarks/distillation_cost.py [--model monodle_plain] [--size 224 96] [--batch 8] [--steps 20] [--threads 1]
    [--device cpu]

Views and weights are random: a step's cost does not depend on them. Memory is the peak of a process of its own; on CUDA
it is that of the device's memory that torch has taken for tensors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time

import torch
from lightning.fabric.utilities import move_data_to_device

from add_model.detectors.losses import Normaliser
from add_model.registry import adapter_for, build
from training.data.augmentation import Augmentation
from training.data.collation import Batch, collate
from training.data.frame_sources import WorldFrames
from training.data.views import TrainingViews
from training.data.world import World
from training.objectives import ADDDistillation, Baseline, LossContext, TeacherTraining

ARMS = {"student alone": Baseline(), "teacher": TeacherTraining(), "student + ADD": ADDDistillation(teacher=None)}


class Arm:
    """One way of training, with its own weights and optimizer."""

    def __init__(self, name: str, model: str, device: str) -> None:
        self.device = device
        self.detector = build(model).to(memory_format=torch.channels_last)
        self.objective = ARMS[name].build(self.detector, adapter_for(model))
        self.detector.to(device).train()
        self.objective.to(device).train()
        learnt = [p for module in (self.detector, self.objective) for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learnt, lr=1e-4, fused=True)

    def step(self, batch: Batch) -> tuple[float, float]:
        """Train one step; returns its seconds, and those of the CPU."""
        self.wait()
        start, cpu = time.perf_counter(), time.process_time()
        weights = self.objective.weights(0.5)
        losses = self.objective.losses(self.detector, LossContext(batch, Normaliser()))
        loss = sum(weights.get(name, 1.0) * value for name, value in losses.items())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.wait()
        return time.perf_counter() - start, time.process_time() - cpu

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def batch_of(model: str, size: tuple[int, int], count: int, device: str) -> Batch:
    """A batch of views of the synthetic world."""
    detector, world = build(model), World(width=621, height=188, focal=360.5)
    frames = WorldFrames(world, 0, count, "dense")
    views = TrainingViews(lambda _: frames, count, Augmentation(size=size), detector.target_encoder, 0, detector.focal)
    return move_data_to_device(collate([views[i] for i in range(count)]), device)


def memory(name: str, options: argparse.Namespace, answer: multiprocessing.Queue) -> None:
    """In a process of its own: the most memory that three steps take, MiB."""
    torch.set_num_threads(options.threads)
    arm = Arm(name, options.model, options.device)
    batch = batch_of(options.model, tuple(options.size), options.batch, options.device)
    for _ in range(3):
        arm.step(batch)
    if options.device == "cuda":
        answer.put(torch.cuda.max_memory_allocated() / 2**20)
    else:
        answer.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="monodle_plain")
    parser.add_argument("--size", type=int, nargs=2, default=(224, 96), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    spawn, peaks = multiprocessing.get_context("spawn"), {}
    for name in ARMS:
        answer = spawn.Queue()
        process = spawn.Process(target=memory, args=(name, options, answer))
        process.start()
        peaks[name] = answer.get()
        process.join()
    batch = batch_of(options.model, tuple(options.size), options.batch, options.device)
    arms = {name: Arm(name, options.model, options.device) for name in ARMS}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ARMS}
    for turn in range(options.steps + 3):
        for name, arm in arms.items():
            seconds = arm.step(batch)
            if turn >= 3:
                taken[name].append(seconds)
    medians = {name: [statistics.median(times) for times in zip(*taken[name], strict=True)] for name in ARMS}
    alone = medians["student alone"]
    print(f"{options.model}, {options.batch} views of {options.size[0]}x{options.size[1]}")
    titles = ("median ms a step", "of the student", "CPU ms a step", "of the student", "peak MiB")
    print(f"{'':16}{''.join(f'{title:>18}' for title in titles)}")
    for name, (passed, cpu) in medians.items():
        figures = f"{1000 * passed:>18.0f}{passed / alone[0]:>18.2f}{1000 * cpu:>18.0f}{cpu / alone[1]:>18.2f}"
        print(f"{name:16}{figures}{peaks[name]:>18.0f}")


if __name__ == "__main__":
    main()
