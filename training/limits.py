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
