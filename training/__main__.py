"""python -m training fit|validate|test --config FILE: train and score detectors with Lightning."""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI

from training.data.module import Loaders
from training.lit import LitDetector


def main(arguments: list[str] | None = None) -> None:
    """The command line; see --help of each subcommand."""
    LightningCLI(
        LitDetector,
        Loaders,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        args=arguments,
    )


if __name__ == "__main__":
    main()
