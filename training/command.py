"""The command line of training: LightningCLI, with a run folder that holds all there is of a run.

A run folder has config.yaml, metrics.csv, curves.png, last.ckpt, best.ckpt, tensorboard/ and, after a test, test/.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from add_model.atomic_io import FULL, write_atomically
from add_model.errors import OutputError
from training.checkpoint_writing import BEST, CURVES, LAST, AtomicCheckpoints, KeepCheckpoints
from training.checkpoints import history, load_checkpoint
from training.data.data_module import Loaders
from training.errors import TrainingError
from training.evaluation.table import format_table
from training.guarded_loggers import guard, threads_told
from training.lightning_module import LitDetector, logged_metrics
from training.limits import require_known_length, require_steps
from training.metrics import NAME as METRICS
from training.metrics import MetricsFile
from training.objectives.base import CHECKPOINT_OPTIONS
from training.parser import ConfigFile, TrainingParser
from training.progress import Progress, ScoringLines, say, silence_lightning
from training.progress_bar import lock_within_process
from training.recipes import run_name
from training.renamed_options import require_new_options
from training.resume import require_same
from training.run_lock import is_first_process, lock
from training.submission import write_submission

_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")  # boxes are computed in float32, whatever the features are
_DEFAULTS = {"use_distributed_sampler": False, "num_sanity_val_steps": 0}


class SaveConfig(SaveConfigCallback):
    """config.yaml of the run folder, by the one writer of files."""

    def save_config(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Raises OutputError where it can't be written."""
        text = self.parser.dump(self.config, skip_none=False)
        write_atomically(Path(trainer.loggers[0].save_dir) / self.config_filename, text)


class TrainingCommand(LightningCLI):
    """fit, validate and test. Raises TrainingError where that can't be done."""

    def __init__(self, arguments: list[str]) -> None:
        require_new_options(arguments)
        silence_lightning()
        super().__init__(
            LitDetector,
            Loaders,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=TrainingParser,
            # Abbreviations would take a misspelt key for another one.
            parser_kwargs={
                "prog": "add-ros",
                "description": "Train and score: fit, validate and test.",
                "allow_abbrev": False,
            },
            trainer_defaults=_DEFAULTS,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            args=arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """What there is, and the arguments that the command line fills in itself."""
        filled = {"model", "datamodule", "weights_only"}
        return {
            "fit": filled | {"train_dataloaders", "val_dataloaders", "ckpt_path"},
            "validate": filled | {"dataloaders", "verbose"},
            "test": filled | {"dataloaders", "verbose"},
        }

    def init_parser(self, **options: Any) -> LightningArgumentParser:
        """A parser whose --config composes files."""
        header = [f"lightning.pytorch=={lightning.__version__}"]
        parser = self.parser_class(**{"dump_header": header, **options})
        how = "configuration (add-ros recipes lists some); a second one changes what the first one says"
        parser.add_argument("-c", "--config", action=ConfigFile, help=how)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What a run is, beside its model, data and trainer."""
        default = "runs/RECIPE+OVERLAY, after the names of the configurations"
        parser.add_argument("--run-dir", type=str | None, default=None, help=f"run folder (default: {default})")
        parser.add_argument("--resume", action="store_true", help="fit: go on from the run folder's last checkpoint")
        parser.add_argument(
            "--monitor", type=str, default="val/Car_3d_moderate", help="fit: metric whose highest value is the best"
        )
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Without Lightning's warning about arguments that are not those of the process."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would look for options in the file, which has none, before it is known to be one."""

    def before_instantiate_classes(self) -> None:
        """Find the run folder, and the checkpoint that is needed."""
        options = self.config[self.subcommand]
        if options.trainer is None:
            raise TrainingError("trainer is null in a configuration: leave the key out, or give options below it")
        if options.trainer.barebones:
            raise TrainingError("trainer.barebones: leave it out, since a run has logs and checkpoints")
        self.run_dir = Path(options.run_dir or f"runs/{run_name(options.config or []) or 'unnamed'}")
        self.checkpoint: Path | None = None
        if self.subcommand == "fit":
            self._hold_run_folder()
            self._choose_start(options.resume)
        else:
            self.save_config_callback = None
            if options.resume:
                raise TrainingError(f"--resume is for fit; {self.subcommand} takes --ckpt_path last, best or a file")
            wanted = options.ckpt_path or "last"
            self.checkpoint = self.run_dir / f"{wanted}.ckpt" if wanted in ("last", "best") else Path(wanted)
            options.ckpt_path = None
            load_checkpoint(self.checkpoint, mmap=True)
        if self.checkpoint:
            self._forget_files(options.model)
        else:
            self._require_files(options.model)

    def _hold_run_folder(self) -> None:
        self._lock = lock(self.run_dir) if is_first_process() else None

    def _require_files(self, model: Any) -> None:
        """Of weights that no checkpoint of the run holds."""
        if (model.objective.get("init_args") or {}).get("teacher", "") is None:
            raise TrainingError(
                "model.objective.teacher is null: give the checkpoint of a run with model.objective TeacherTraining"
            )

    def _forget_files(self, model: Any) -> None:
        """Of weights that a checkpoint of the run holds: their files may be gone."""
        model.init_weights = None
        given = model.objective.get("init_args") or {}
        for name in CHECKPOINT_OPTIONS:
            if name in given:
                given[name] = None

    def _choose_start(self, resume: bool) -> None:
        last = self.run_dir / LAST
        if not last.is_file():
            if resume:
                say(f"{self.run_dir} has no checkpoint yet: starting afresh")
            return
        checkpoint = _read_last(last)
        if not resume:
            epochs = history(checkpoint, last)["epochs"]
            raise TrainingError(
                f"{self.run_dir} holds a run of {epochs} epochs already: continue it with --resume, name another folder"
                " with --run-dir, or remove it"
            )
        given = self._parser(self.subcommand).dump(self.config[self.subcommand], skip_none=False)
        require_same(self.run_dir, yaml.safe_load(given))
        self.checkpoint, self.save_config_callback = last, None

    def instantiate_trainer(self, **options: Any) -> lightning.Trainer:
        """The trainer, with the run folder's files attached."""
        given = self._get(self.config_init, "trainer")
        loggers = [logger for logger in _listed(given.logger) if isinstance(logger, Logger)]
        bar = sys.stderr.isatty() if given.enable_progress_bar is None else given.enable_progress_bar
        given.enable_progress_bar, given.enable_model_summary = bar, bool(given.enable_model_summary)
        lock_within_process()
        self.metrics = MetricsFile(self.run_dir)
        if self.subcommand == "fit":
            keeper = self._keeper()
            given.callbacks = [*_listed(given.callbacks), Progress(keeper, lines=not bar), keeper]
            # Events after the checkpoint are those of the part that is done again.
            purge = self._resumed["global_step"] + 1 if self.checkpoint else None
            board = TensorBoardLogger(self.run_dir, "tensorboard", "", default_hp_metric=False, purge_step=purge)
            loggers = [guard(logger) for logger in (self.metrics, board, *loggers)]
        elif not bar:
            given.callbacks = [*_listed(given.callbacks), ScoringLines()]
        plugins = [*_listed(given.plugins), AtomicCheckpoints()]
        try:
            trainer = super().instantiate_trainer(**options, logger=loggers or False, plugins=plugins)
        except (MisconfigurationException, ValueError) as error:
            raise TrainingError(f"trainer: {' '.join(str(error).split())}") from error
        if trainer.precision not in _PRECISIONS:
            raise TrainingError(f"trainer.precision {trainer.precision}: choose one of {', '.join(_PRECISIONS)}")
        if self.subcommand == "fit":
            require_known_length(trainer)
            require_steps(trainer)
            if trainer.world_size == 1 and self._lock is None:
                self._lock = lock(self.run_dir)  # SLURM's second task, which Lightning takes for a training of its own
        return trainer

    def _keeper(self) -> KeepCheckpoints:
        monitor, metrics = self._get(self.config, "monitor"), logged_metrics(self.model.detector.classes)
        if monitor not in metrics:
            raise TrainingError(f"--monitor {monitor} is not a metric; there are: {', '.join(metrics)}")
        return KeepCheckpoints(self.run_dir, self.metrics, monitor)

    @property
    def _resumed(self) -> dict[str, Any]:
        return load_checkpoint(self.checkpoint, mmap=True)

    def fit(self, model: LitDetector, **arguments: Any) -> None:
        """Train, from the start or from the last checkpoint, and print the table of the last validation."""
        if self.checkpoint:
            at = self._resumed
            epochs = history(at, self.checkpoint)["epochs"]
            say(f"resuming {self.checkpoint} after {epochs} epochs ({at['global_step']} steps)")
        else:
            _remove_leftovers(self.run_dir)
        try:
            with threads_told():
                self.trainer.fit(model, ckpt_path=self.checkpoint, weights_only=True, **arguments)
        except (TrainingError, OutputError) as error:
            raise TrainingError(f"{error}\n{last_good(self.run_dir)}") from error
        except ValueError as error:
            if "val_check_interval" not in str(error):
                raise
            raise TrainingError(f"trainer: {' '.join(str(error).split())}") from error
        except OSError as error:  # of a library's writer, which names no file
            if error.errno not in FULL:
                raise
            said = f"the disk is full ({error}): make room for {self.run_dir}, and go on with --resume"
            raise TrainingError(f"{said}\n{last_good(self.run_dir)}") from error
        except SystemExit:  # of a signal
            print(f"what was trained since is lost; {last_good(self.run_dir)}", file=sys.stderr, flush=True)
            raise
        keeper = next(c for c in self.trainer.callbacks if isinstance(c, KeepCheckpoints))
        if model.scores:
            say(format_table(model.scores))
        if keeper.best_epoch >= 0:
            if model.validation:
                say(f"last {keeper.monitor}: {model.validation[keeper.monitor]:.2f} ({self.run_dir / LAST})")
            say(f"best {keeper.monitor}: {keeper.best:.2f} after epoch {keeper.best_epoch} ({self.run_dir / BEST})")
        if keeper.left is not None:
            say(f"stopped within epoch {keeper.left}, of which nothing is kept; {last_good(self.run_dir)}")
            return
        if self.trainer.fast_dev_run:
            say(f"fast_dev_run: {self.trainer.global_step} steps, of which nothing is kept")
            return
        say(f"{self.trainer.current_epoch} epochs, {self.trainer.global_step} steps -> {self.run_dir}")

    def validate(self, model: LitDetector, **arguments: Any) -> None:
        """Score a checkpoint on the validation frames and print the table."""
        self.trainer.validate(model, **self._scoring(arguments))
        say(format_table(model.scores))
        say(f"{self.checkpoint}, {int(self.trainer.callback_metrics.get('val/frames', 0))} frames")

    def test(self, model: LitDetector, **arguments: Any) -> None:
        """Write the result files of the test frames; of the whole testing/ folder also the server's archive."""
        model.results = self.run_dir / "test"
        if self.trainer.is_global_zero:
            model.results.mkdir(parents=True, exist_ok=True)
            for old in model.results.glob("*.txt"):
                old.unlink()  # of another checkpoint: it would be scored with the new ones
        self.trainer.test(model, **self._scoring(arguments))
        say(f"{self.checkpoint}, {len(list(model.results.glob('*.txt')))} result files -> {model.results}")
        if self.trainer.is_global_zero and getattr(self.datamodule, "test", "") is None:
            say(f"for KITTI's test server: {write_submission(model.results)}")

    def _scoring(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {**arguments, "ckpt_path": self.checkpoint, "weights_only": True, "verbose": False}


def _listed(given: Any) -> list:
    """What a configuration gives as None, one, or a list."""
    return given if isinstance(given, list) else [given] if given else []


@rank_zero_only
def _remove_leftovers(folder: Path) -> None:
    # Of a run that ended within its first epoch.
    for name in (BEST, CURVES, METRICS):
        (folder / name).unlink(missing_ok=True)


def _read_last(last: Path) -> dict[str, Any]:
    try:
        return load_checkpoint(last, mmap=True)
    except TrainingError as error:
        best = last.with_name(BEST)
        way = f"copy {best} over it and --resume to go on from there, or " if best.is_file() else ""
        raise TrainingError(f"{error}; {way}remove {last.parent} to start afresh") from None


def last_good(folder: Path) -> str:
    """Which checkpoint a run that stopped has left, in a sentence."""
    if not (folder / LAST).is_file():
        return f"{folder} has no checkpoint yet: the first is written after the first epoch"
    run = history(load_checkpoint(folder / LAST, mmap=True), folder / LAST)
    return f"the last good checkpoint is {folder / LAST}, after {run['epochs']} epochs; --resume goes on from it"
