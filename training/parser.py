"""What training's command line adds to LightningCLI's parser: composed configurations, and `--data DIR`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile
from jsonargparse._typehints import ActionTypeHint
from lightning.pytorch.cli import LightningArgumentParser

from training.data.bounded_yaml import load_configuration
from training.data.data_module import Loaders
from training.errors import TrainingError
from training.recipes import replacement, run_name
from training.renamed_options import require_new_names

_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)+")
_BASE = "{base}"  # in a configuration: the names of the files before it


class ConfigFile(ActionConfigFile):
    """`--config FILE`, once or several times: later ones change what earlier ones say."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Read a file. Raises TrainingError where there is none, or it has the names of an older version."""
        path = Path(values)
        text = _text(path)
        require_new_names(_mapping(text, path), path)
        base = run_name([str(before) for before in cfg.get(self.dest) or []])
        self.apply_config(parser, cfg, self.dest, text.replace(_BASE, base))
        cfg[self.dest][-1] = path


class DataArgument(ActionTypeHint):
    """`--data CLASS`, or `--data DIR` for `--data.root DIR`."""

    def __call__(self, *given: Any, **options: Any) -> Any:
        """See `argparse.Action`."""
        if len(given) == 4:
            parser, namespace, value, option = given
            if option == "--data" and isinstance(value, str) and is_folder(value):
                given = (parser, namespace, value, "--data.root")
        return super().__call__(*given, **options)


class TrainingParser(LightningArgumentParser):
    """The parser of each subcommand."""

    def add_lightning_class_args(self, lightning_class: Any, nested_key: str, *more: Any, **options: Any) -> list[str]:
        """See `LightningArgumentParser`."""
        added = super().add_lightning_class_args(lightning_class, nested_key, *more, **options)
        for action in self._actions:
            if action.dest == nested_key == "data":
                action.__class__ = DataArgument  # an ActionTypeHint is made by jsonargparse alone
        return added

    def print_usage(self, file: Any = None) -> None:
        """Nothing: the usage of hundreds of options would bury the error that it is printed with."""


def is_folder(value: str) -> bool:
    """Whether what --data is given is a folder, there or not, and no class."""
    if Path(value).is_dir():
        return True
    named = value in {kind.__name__ for kind in Loaders.__subclasses__()} or _CLASS_PATH.fullmatch(value)
    return not named and not value.startswith("{")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise TrainingError(replacement(path) or f"no such configuration: {path}") from None
    except UnicodeDecodeError:
        raise TrainingError(f"{path} is no configuration: it is no text in UTF-8") from None
    except OSError as error:
        raise TrainingError(f"{path} is no configuration: {error.strerror or error}") from None


def _mapping(text: str, path: Path) -> dict[str, Any]:
    try:
        content = load_configuration(text)
    except yaml.YAMLError as error:
        raise TrainingError(f"{path} is no configuration: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is no configuration: it has no keys")
    return content
