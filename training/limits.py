"""What may limit a training: epochs, steps and time, as Lightning's trainer has them."""

from __future__ import annotations

import lightning

from training.errors import TrainingError


def require_known_length(trainer: lightning.Trainer) -> None:
    """Raises TrainingError where a training has no number of steps: learning rate and loss weights go by its share."""
    if trainer.max_epochs == -1 and trainer.max_steps == -1:
        raise TrainingError(
            "the training has no known length, along which the learning rate falls: give trainer.max_epochs or"
            " trainer.max_steps; trainer.max_time may end it earlier"
        )


def require_steps(trainer: lightning.Trainer) -> None:
    """Raises TrainingError where the limits leave nothing to train."""
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(trainer, name) == 0:
            raise TrainingError(f"trainer.{name} 0: nothing would be trained; give more, or leave it out")


def require_validation_at_ends(trainer: lightning.Trainer) -> None:
    """Raises TrainingError where validation falls within epochs: checkpoints are of whole ones, with their scores."""
    batches, every = trainer.num_training_batches, trainer.val_check_batch
    if trainer.limit_val_batches and (every is None or every % batches):
        raise TrainingError(
            f"trainer.val_check_interval makes validations within epochs, which have {batches} batches, but checkpoints"
            " are of whole epochs: leave it out, and shorten the epochs with trainer.limit_train_batches"
        )
