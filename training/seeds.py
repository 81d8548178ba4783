"""python -m training seeds --config FILE --seeds 0 1 2: train with several seeds, report mean and spread.

Every seed has a run folder of its own within --out. Started again, finished seeds are kept and the others go on.
Options it does not know are passed on to fit, such as --data DIR or --trainer.max_epochs 20.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.atomic_io import TrainingError, write_atomically
from training.metrics import NAME, read_metrics

_SHOWN = ("3d_easy", "3d_moderate", "3d_hard", "bev_moderate", "3d_loose_moderate")


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training seeds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="configuration, as for fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--out", type=Path, help="folder for the run folders (default: runs/NAME_OF_CONFIG_seeds)")
    parser.add_argument("--best_by", default="val/Car_3d_moderate", help="metric that says which epoch is the best")
    options, fit_options = parser.parse_known_args(arguments)
    out = options.out or Path("runs") / f"{Path(options.config).stem}_seeds"
    seeds = list(dict.fromkeys(options.seeds))
    for seed in seeds:
        print(f"seed {seed} -> {folder_of(out, seed)}", flush=True)
        command = [sys.executable, "-m", "training", "fit", "--config", options.config, "--resume", *fit_options]
        command += ["--seed_everything", str(seed), "--folder", str(folder_of(out, seed)), "--best_by", options.best_by]
        if status := subprocess.run(command, check=False).returncode:
            print(f"error: seed {seed} failed; the same command goes on where it stopped", file=sys.stderr)
            return status
    report = summarise({seed: read_metrics(folder_of(out, seed) / NAME) for seed in seeds}, options.best_by)
    write_atomically(out / "seeds.json", (json.dumps(report, indent=1) + "\n").encode())
    print(format_report(report))
    print(out / "seeds.json")
    return 0


def folder_of(out: Path, seed: int) -> Path:
    """The run folder of a seed."""
    return out / f"seed_{seed}"


def summarise(rows: Mapping[int, Sequence[Mapping[str, float]]], best_by: str) -> dict:
    """{last, best: {metric: {mean, spread, values}}, seeds, epochs: {last, best}} from the metrics of each seed.

    The last epoch is the last one that was validated, the best one the first at which `best_by` was highest. The spread
    is the standard deviation over the seeds (n - 1), None for a single one. Raises TrainingError where a seed has no
    validation.
    """
    chosen: dict[str, list[Mapping[str, float]]] = {"last": [], "best": []}
    for seed, all_rows in rows.items():
        validated = [row for row in all_rows if best_by in row]
        if not validated:
            raise TrainingError(f"seed {seed} has no {best_by}: was it validated at all?")
        chosen["last"].append(validated[-1])
        chosen["best"].append(max(validated, key=lambda row: row[best_by]))
    metrics = [name for name in chosen["last"][0] if name.startswith("val/") and name != "val/frames"]
    report: dict = {
        which: {m: _spread([row[m] for row in picked]) for m in metrics} for which, picked in chosen.items()
    }
    report |= {"seeds": list(rows), "best_by": best_by}
    return report | {"epochs": {which: [int(row["epoch"]) for row in picked] for which, picked in chosen.items()}}


def _spread(values: list[float]) -> dict:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread, "values": values}


def _cell(part: dict) -> str:
    mean = f"{part['mean']:.2f}"
    return mean if part["spread"] is None else f"{mean} +- {part['spread']:.2f}"


def format_report(report: dict) -> str:
    """The report as a table: mean and spread at the last epoch, and at each seed's best beside it."""
    seeds = report["seeds"]
    what = "mean +- standard deviation (each seed)" if len(seeds) > 1 else "a single one, which has no spread"
    lines = [f"AP_R40 over seeds {' '.join(map(str, seeds))}: {what}"]
    lines.append(f"{'':<32}{'last epoch':>18}{'best epoch':>18}")
    for name, last in report["last"].items():
        kind, _, metric = name.removeprefix("val/").partition("_")
        if metric in _SHOWN:
            cells = [_cell(part) for part in (last, report["best"][name])]
            each = ", ".join(f"{value:.2f}" for value in last["values"])
            lines.append(f"{kind + ' ' + metric.replace('_', ' '):<32}{cells[0]:>18}{cells[1]:>18}  ({each})")
    lines.append(f"epochs: last {report['epochs']['last']}, best {report['epochs']['best']} by {report['best_by']}")
    lines.append("The best epoch is chosen on the frames that it is scored on: compare methods by the last one.")
    return "\n".join(lines)


if __name__ == "__main__":
    from training.__main__ import main as command  # its errors are one line

    sys.exit(command(["seeds", *sys.argv[1:]]))
