"""What each engine's precision does to the boxes and to average precision: python benchmarks/engine_accuracy.py"""

from __future__ import annotations

import argparse

import numpy as np
from latency import installed_engines

from add_model.predictor import Predictor
from training.data.kitti.labels import detections_table, objects_table
from training.data.world import World
from training.evaluation.average_precision import evaluate
from training.evaluation.table import rows


def table(title: str, columns: list[str], lines: dict[str, list[float]]) -> None:
    """Print values by row, each with its ratio to the first row's."""
    print(f"\n{title}\n{'':34}{''.join(f'{column:>20}' for column in columns)}")
    first = next(iter(lines.values()))
    for name, values in lines.items():
        cells = (f"{v:.2f} ({v / f:.2f})" if f else f"{v:.2f}" for v, f in zip(values, first, strict=True))
        print(f"{name:34}{''.join(f'{cell:>20}' for cell in cells)}", flush=True)


def accuracy(streets: int) -> None:
    """Average precision (R40, moderate) of cars in each engine, and how far its boxes are from the first one's."""
    world, labels = World(seed=1), []
    predictors = {
        engine: Predictor(device="cpu", threads=1, engine=engine, flip_test=False) for engine in installed_engines()[:2]
    }
    tables: dict[str, list] = {engine: [] for engine in predictors}
    moved: dict[str, list[float]] = {engine: [] for engine in predictors}
    for index in range(streets):
        sample = world.sample(index)
        labels.append(objects_table(sample.objects))
        found = {engine: p.predict(sample.image, sample.camera) for engine, p in predictors.items()}
        reference = next(iter(found.values()))
        for engine, answer in found.items():
            tables[engine].append(detections_table(answer, sample.camera))
            for i in np.flatnonzero(reference.scores > 0.15):
                same = answer.boxes[answer.names == reference.names[i], :3]
                gap = np.linalg.norm(same - reference.boxes[i, :3], axis=1) / np.linalg.norm(reference.boxes[i, :3])
                moved[engine].append(100 * gap.min() if len(gap) else 100.0)
    lines = {}
    for engine, predictor in predictors.items():
        scores = {
            (name, metric, overlaps): values[1]
            for overlaps in ("strict", "loose")
            for name, metric, _, values in rows(evaluate(labels, tables[engine]), "R40", overlaps)
        }
        lines[f"{engine} {predictor.precision}"] = [
            *(
                scores["Car", metric, overlaps]
                for metric, overlaps in (("3D", "strict"), ("3D", "loose"), ("2D", "strict"))
            ),
            *np.percentile(moved[engine], (50, 95)),
        ]
    columns = ["Car 3D@0.7", "Car 3D@0.5", "Car 2D@0.7", "moved, median %", "moved, 95% %"]
    table(f"{streets} streets of seed 1, moderate", columns, lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streets", type=int, default=200, help="default: %(default)s")
    accuracy(parser.parse_args().streets)


if __name__ == "__main__":
    main()
