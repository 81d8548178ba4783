"""LightningModules: thin, the losses come from the detectors."""

from __future__ import annotations

import lightning
import torch
from torch import Tensor

from add_model.backends import Candidates
from add_model.coder import CLASSES
from add_model.detectors.monodle_loss import monodle_loss
from add_model.models import build, load
from add_model.predictor import finish
from training.data.batches import Batch, Scene
from training.data.labels import detections_table, objects_table
from training.evaluation.average_precision import evaluate
from training.schedule import Cosine, StepDecay


class LitDetector(lightning.LightningModule):
    """Trains a detector and scores it with KITTI's average precision.

    model: a name in `add_model.models`
    start: weights to start from: a .safetensors file, 'imagenet' for the backbone's, None for random ones
    rate, weight_decay: AdamW's; schedule: factor on the rate over the whole training, stepped every batch
    """

    def __init__(
        self,
        model: str = "monodle_lite0",
        start: str | None = "imagenet",
        rate: float = 1.25e-3,
        weight_decay: float = 1e-5,
        schedule: Cosine | StepDecay = Cosine(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.model_name = model
        if start is None or start == "imagenet":
            self.detector = build(model)
            if start:
                self.detector.backbone.load_imagenet()
        else:
            self.detector = load(start)
        self.rate, self.weight_decay, self.schedule = rate, weight_decay, schedule
        self._scored: list[tuple] = []

    def configure_optimizers(self) -> dict:
        # Norms and biases are not decayed: they are few, and pulling them to zero only hurts.
        decayed = [p for p in self.detector.parameters() if p.ndim > 1]
        others = [p for p in self.detector.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.rate)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        losses = monodle_loss(self.detector, self.detector.features(batch.images), batch.targets, self._mean)
        total = sum(losses.values())
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=len(batch.images))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.images))
        return total

    def validation_step(self, scene: Scene, _: int) -> None:
        with torch.autocast(self.device.type, enabled=False):
            decoded = self.detector(scene.canvas[None], scene.P[None])
        candidates = Candidates(*(getattr(decoded, name)[0].cpu().numpy() for name in Candidates._fields))
        found = finish(candidates, CLASSES, scene.camera, scene.seen)
        self._scored.append((scene.id, objects_table(scene.objects), detections_table(found, scene.camera)))

    def on_validation_epoch_end(self) -> None:
        scored, self._scored = self._scored, []
        if self.trainer.world_size > 1:
            everyone: list = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, scored)
            scored = [frame for share in everyone for frame in share]
        # A fixed order: ties in the scores are broken by it.
        scored.sort(key=lambda frame: frame[0])
        scores = evaluate([labels for _, labels, _ in scored], [results for _, _, results in scored])
        for overlaps in ("strict", "loose"):
            for name, metrics in scores.percent("R40", overlaps).items():
                for metric in ("bev", "3d"):
                    moderate = metrics[metric][1] if metrics[metric] else 0.0
                    self.log(f"val/{name}_{metric}_{overlaps}", moderate, rank_zero_only=True)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["model_name"] = self.model_name

    def _mean(self, value: Tensor) -> Tensor:
        return self.all_gather(value).mean() if self.trainer.world_size > 1 else value
