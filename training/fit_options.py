"""What --help of fit, validate and test shows: the options that are used most, on one screen, without importing torch.

The command line itself is LightningCLI's (`training.command`), which has some hundred more; --help-all lists them.
"""

from __future__ import annotations

import argparse

from training.arguments import command_parser

ALL = "--help-all"
_WHAT = {
    "fit": "Train a detector, or go on with a training. A recipe says model, data and trainer; overlays and options "
    "change what it says.",
    "validate": "Score a checkpoint of a run on the validation frames and print KITTI's table.",
    "test": "Write KITTI result files of the test frames into RUN/test.",
}
_EXAMPLES = {
    "fit": "--config config/train/recipes/monodle_lite0_kitti.yaml --data DIR",
    "validate": "--config runs/NAME/config.yaml --run-dir runs/NAME --ckpt_path best",
    "test": "--config runs/NAME/config.yaml --run-dir runs/NAME",
}


def parser(subcommand: str) -> argparse.ArgumentParser:
    """The parser whose help is shown, of fit, validate or test."""
    options = command_parser(subcommand, _WHAT[subcommand], _EXAMPLES[subcommand], usage="%(prog)s [options]")
    fits = subcommand == "fit"
    run = options.add_argument_group("run")
    run.add_argument(
        "-c",
        "--config",
        action="append",
        metavar="FILE",
        help="recipe (see add-ros recipes), then overlays; repeatable",
    )
    run.add_argument("--run-dir", metavar="DIR", help="run folder (default: runs/RECIPE+OVERLAY)")
    if fits:
        run.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
        run.add_argument("--monitor", metavar="METRIC", help="its highest value is the best (val/Car_3d_moderate)")
        run.add_argument("--seed_everything", metavar="N", help="seed of everything that is random (0)")
    else:
        run.add_argument("--ckpt_path", metavar="FILE", help="last (default), best or a file")
    run.add_argument("--print_config", action="store_true", help="print the composed configuration and stop")
    data = options.add_argument_group("data")
    data.add_argument("--data", metavar="DIR", help="folder in KITTI's object layout")
    if fits:
        data.add_argument("--data.train", metavar="FILE", help="frame ids to train on, or chen_train")
    if subcommand == "test":
        data.add_argument(
            "--data.test", metavar="FILE", help="frame ids to write results of (default: the folder testing)"
        )
    else:
        data.add_argument("--data.val", metavar="FILE", help="frame ids to validate on, or chen_val")
    if fits:
        data.add_argument("--data.depth", metavar="SOURCE", help="depth for teachers and ADD: lidar, object or dense")
        data.add_argument("--data.batch_size", metavar="N", help="frames a batch, of each process")
    data.add_argument("--data.num_workers", metavar="N", help="loader processes, at most one a core")
    if fits:
        model = options.add_argument_group("model")
        model.add_argument("--model.init_weights", metavar="FILE", help="weights to begin with, imagenet or null")
        model.add_argument("--model.lr", metavar="X", help="learning rate")
        model.add_argument("--model.objective", metavar="CLASS", help="Baseline, TeacherTraining or ADDDistillation")
        model.add_argument("--model.objective.teacher", metavar="FILE", help="ADD: the teacher's checkpoint")
    trainer = options.add_argument_group("trainer")
    if fits:
        trainer.add_argument("--trainer.max_epochs", metavar="N", help="length of the training")
        trainer.add_argument("--trainer.accumulate_grad_batches", metavar="N", help="batches a step")
    trainer.add_argument("--trainer.precision", metavar="P", help="32-true, bf16-mixed or 16-mixed")
    trainer.add_argument("--trainer.devices", metavar="N", help="GPUs or processes")
    options.add_argument(ALL, action="store_true", help="list every option, Lightning's too")
    return options
