"""add-ros seeds --config RECIPE --seeds 0 1 2: train with several seeds, report mean and spread.

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

from add_model.atomic_io import write_atomically
from training.arguments import at_least, command_parser
from training.errors import TrainingError
from training.recipes import run_name
from training.renamed_options import require_new_options
from training.reported_errors import exit_status

_SHOWN = ("3d_easy", "3d_moderate", "3d_hard", "bev_moderate", "3d_loose_moderate")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return exit_status(_run, arguments)


def _run(arguments: list[str]) -> int:
    options, fit_options = parser().parse_known_args(arguments)
    require_new_options(fit_options)
    if "--print_config" in fit_options:
        raise TrainingError("--print_config is for fit: add-ros fit with the same --config prints the configuration")
    out = options.out or Path("runs") / f"{run_name(options.config)}_seeds"
    seeds = list(dict.fromkeys(options.seeds))
    for seed in seeds:
        print(f"seed {seed} -> {folder_of(out, seed)}", flush=True)
        command = [sys.executable, "-m", "training", "fit", "--resume"]
        command += [word for file in options.config for word in ("--config", file)] + fit_options
        command += ["--seed_everything", str(seed), "--run-dir", str(folder_of(out, seed))]
        command += ["--monitor", options.monitor]
        if status := subprocess.run(command, check=False).returncode:
            print(f"error: seed {seed} failed; the same command goes on where it stopped", file=sys.stderr)
            return status
    from training.metrics import NAME, read_metrics  # with Lightning, which takes seconds to import

    report = summarise({seed: read_metrics(folder_of(out, seed) / NAME) for seed in seeds}, options.monitor)
    write_atomically(out / "seeds.json", (json.dumps(report, indent=1) + "\n").encode())
    print(format_report(report))
    print(out / "seeds.json")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = command_parser(
        "seeds",
        "Train with several seeds; report mean and spread. Every seed has a run folder of its own within --out. "
        "Started again, finished seeds are kept and the others go on. Options that are not listed here go to fit.",
        "--config config/train/recipes/monodle_lite0_kitti.yaml --data DIR --seeds 0 1 2",
        allow_abbrev=False,
    )
    runs = options.add_argument_group("runs")
    runs.add_argument(
        "-c", "--config", action="append", required=True, metavar="FILE", help="configuration, as for fit; repeatable"
    )
    runs.add_argument("--seeds", type=at_least(0), nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    runs.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the run folders (default: runs/RECIPE+OVERLAY_seeds)"
    )
    runs.add_argument(
        "--monitor", default="val/Car_3d_moderate", metavar="METRIC", help="which epoch is the best (%(default)s)"
    )
    return options


def folder_of(out: Path, seed: int) -> Path:
    """The run folder of a seed."""
    return out / f"seed_{seed}"


def summarise(rows: Mapping[int, Sequence[Mapping[str, float]]], monitor: str) -> dict:
    """Mean and spread over the seeds, at the last epoch that was validated and at each seed's best one.

    Args:
        rows: The metrics of each seed, as metrics.csv has them.
        monitor: The metric whose first highest value says which epoch is the best.

    Returns:
        {last, best: {metric: {mean, spread, values}}, seeds, monitor, epochs: {last, best}}. The spread is the standard
        deviation (n - 1), None for a single seed.

    Raises:
        TrainingError: Where a seed has no validation.
    """
    chosen: dict[str, list[Mapping[str, float]]] = {"last": [], "best": []}
    for seed, all_rows in rows.items():
        validated = [row for row in all_rows if monitor in row]
        if not validated:
            raise TrainingError(f"seed {seed} has no {monitor}: was it validated at all?")
        chosen["last"].append(validated[-1])
        chosen["best"].append(max(validated, key=lambda row: row[monitor]))
    metrics = [name for name in chosen["last"][0] if name.startswith("val/") and name != "val/frames"]
    report: dict = {
        which: {m: _spread([row[m] for row in picked]) for m in metrics} for which, picked in chosen.items()
    }
    report |= {"seeds": list(rows), "monitor": monitor}
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
    lines.append(f"epochs: last {report['epochs']['last']}, best {report['epochs']['best']} by {report['monitor']}")
    lines.append("The best epoch is chosen on the frames that it is scored on: compare methods by the last one.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
