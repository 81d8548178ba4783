"""LightningModules: thin, the losses come from the detectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn

from add_model.classes import ClassSpec, ObjectClass, stored_classes
from add_model.detections import Detections
from add_model.detectors.losses import Normaliser
from add_model.preprocessing import postprocess
from add_model.registry import adapter_for
from training.data.collation import Batch, Scene
from training.data.kitti.labels import detections_table, objects_table, write_results
from training.data.sample import Objects
from training.errors import TrainingError, require_not_negative
from training.evaluation.association import associate
from training.evaluation.average_precision import Scores, evaluate
from training.evaluation.difficulty import DIFFICULTIES
from training.evaluation.distance import object_errors
from training.objectives import Baseline, LossContext, TrainingObjective
from training.objectives.teacher import other_depth
from training.pretrained import initial_detector
from training.progress import say_note
from training.schedule import Cosine, Schedule
from training.weight_decay import Decayed, decay_groups


class LitDetector(lightning.LightningModule):
    """Trains a detector and scores it with KITTI's average precision.

    Args:
        name: A model of `add_model.registry`.
        init_weights: Weights to begin with: a .safetensors file, a run's .ckpt (of a student or a teacher, without its
            depth branch); for the backbone 'imagenet', a .pth file, or 'backbone:' or 'transfer:' before a .ckpt or
            .safetensors; null for random ones.
        lr: The learning rate.
        weight_decay: Of AdamW decoupled from the gradient, of Adam a term of it.
        decayed: What of the network decays. Norms' scales and biases are few, and pulling them to zero only hurts; but
            MonoDLE's, GUPNet's and MonoDETR's published code spares biases alone, and CaDDN's nothing.
        schedule: Factor on the learning rate over the whole training, stepped every batch.
        freeze: Parts of the detector that are not trained, such as backbone.layer1.
        freeze_bn: Whether the detector's BatchNorms keep the statistics that they begin with, for batches too small to
            have their own.
        freeze_bn_affine: Whether their scales and shifts are not trained either.
        optimizer: AdamW, or Adam as some published detectors have it.
        betas: Of the optimizer.
        compile: A backend of torch.compile, such as inductor, for the detector's features; null compiles nothing.
        objective: What is minimised: Baseline, TeacherTraining or ADDDistillation.
        classes: What is found: name, mean size and so on of each class; null for KITTI's Car, Pedestrian, Cyclist.

    `scores` and `validation`, its logged summary, are those of the last validation, the same in all processes.
    `results` is the folder for the result files of a test, set by whoever starts one. `loss_weights` weigh losses by
    name; a callback sets them.
    """

    def __init__(
        self,
        name: str = "monodle_lite0",
        init_weights: str | None = "imagenet",
        lr: float = 1.25e-3,
        weight_decay: float = 1e-5,
        decayed: Decayed = "matrices",
        schedule: Schedule = Cosine(),  # noqa: B008 - frozen
        freeze: list[str] = [],  # noqa: B006 - not changed
        freeze_bn: bool = False,
        freeze_bn_affine: bool = False,
        optimizer: Literal["AdamW", "Adam"] = "AdamW",
        betas: tuple[float, float] = (0.9, 0.999),
        compile: str | None = None,
        objective: TrainingObjective = Baseline(),  # noqa: B008 - frozen
        classes: list[ObjectClass] | None = None,
    ) -> None:
        super().__init__()
        require_not_negative("model.lr", lr)
        require_not_negative("model.weight_decay", weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise TrainingError(f"model.betas {betas}: give two numbers from 0 to below 1")
        if compile and compile not in (backends := torch.compiler.list_backends(exclude_tags=())):
            raise TrainingError(f"model.compile {compile} is unknown; choose one of: {', '.join(backends)}")
        self.model_name, self.freeze_bn = name, freeze_bn
        # Convolutions read their input channel by channel: on CPUs and GPUs alike this layout is the faster one.
        self.detector = initial_detector(name, init_weights, ClassSpec.of(classes)).to(
            memory_format=torch.channels_last
        )
        self.frozen = [_part(self.detector, part).requires_grad_(False) for part in freeze]
        for norm in _batch_norms(self.detector) if freeze_bn_affine else ():
            norm.requires_grad_(False)
        self.objective = objective.build(self.detector, adapter_for(name))
        if compile:  # after the objective, which may copy the detector
            self.detector.extract_features = torch.compile(self.detector.extract_features, backend=compile)
        self.lr, self.weight_decay, self.decayed, self.schedule = lr, weight_decay, decayed, schedule
        self.optimizer, self.betas = getattr(torch.optim, optimizer), betas
        self.scores: Scores | None = None
        self.validation: dict[str, float] = {}
        self.results: Path | None = None
        self.loss_weights: dict[str, float] = {}
        self._seed = torch.initial_seed() % 2**32
        self._scored: list[tuple] = []
        self.train()  # Lightning takes the modes as it finds them

    def train(self, mode: bool = True) -> LitDetector:
        """Switch to training, but for what is frozen."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        for norm in _batch_norms(self.detector) if self.freeze_bn else ():
            norm.eval()
        return self

    def configure_optimizers(self) -> dict:
        """The optimizer, and its learning rate step by step."""
        groups = decay_groups(self.named_parameters(), self.decayed, self.weight_decay)
        mixed = isinstance(self.trainer.precision_plugin, MixedPrecision)
        # Lightning refuses to clip the gradients of a fused optimizer in mixed precision.
        fused = not (mixed and self.trainer.gradient_clip_val)
        optimizer = self.optimizer(groups, lr=self.lr, betas=self.betas, fused=fused)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Note where a teacher sees another kind of depth than it was trained with."""
        if note := other_depth(self.objective.teacher_depth, _depth_of(self.trainer)):
            say_note(note)

    def on_train_batch_start(self, _: Batch, index: int) -> None:
        """Seed what a network draws by epoch and process, so that a resumed run draws the same."""
        if index == 0:
            words = np.random.SeedSequence((self._seed, self.current_epoch, self.global_rank)).generate_state(1)
            torch.manual_seed(int(words[0]))
        momentum = self.schedule.momentum(self._progress)
        for group in self.optimizers().param_groups if momentum is not None else ():
            group["betas"] = (momentum, group["betas"][1])

    @property
    def _progress(self) -> float:
        """The share of the training that is done."""
        return self.global_step / self.trainer.estimated_stepping_batches

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The sum of the losses by the objective's weights. Raises TrainingError where it is not finite."""
        losses = self.losses(batch)
        weights = dict.fromkeys(losses, 1.0) | dict(self.objective.weights(self._progress)) | self.loss_weights
        loss = sum(weights[name] * value for name, value in losses.items())
        # Those of the whole batch, known to all processes: one that stopped alone would leave the others waiting.
        values = self.of_all_processes(losses)
        if not torch.isfinite(values).all():
            raise TrainingError(self._not_finite(losses, batch))
        logged = {f"train/{name}": value for name, value in zip(losses, values, strict=True)}
        self.log_dict(logged | {"train/lr": self.lr_schedulers().get_last_lr()[0]}, batch_size=len(batch.images))
        whole = sum(weights[name] * value for name, value in zip(losses, values, strict=True))
        self.log("train/loss", whole, prog_bar=True, batch_size=len(batch.images))
        return loss

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's losses of this process's batch by name."""
        return self.objective.losses(
            self.detector, LossContext(batch, Normaliser(self._total, self.trainer.world_size))
        )

    def of_all_processes(self, losses: dict[str, Tensor]) -> Tensor:
        """The losses of the whole batch, in the same order."""
        return self._total(torch.stack([value.detach() for value in losses.values()])) / self.trainer.world_size

    def validation_step(self, scene: Scene, _: int) -> None:
        """Detect in one frame and keep the result."""
        found = self._detect(scene)
        self._scored.append((scene.id, scene.objects, found, detections_table(found, scene.camera)))

    def on_validation_epoch_end(self) -> None:
        """Score the frames of all processes and log the average precisions."""
        scored, self._scored = self._scored, []
        if self.trainer.sanity_checking:
            return
        if self.trainer.world_size > 1:
            everyone: list = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, scored)
            scored = [frame for share in everyone for frame in share]
        # A fixed order: ties in the scores are broken by it.
        scored.sort(key=lambda frame: frame[0])
        _, objects, found, tables = zip(*scored, strict=True) if scored else ((), (), (), ())
        classes = self.detector.classes
        self.scores = evaluate([objects_table(labels) for labels in objects], tables, classes)
        self.validation = summary(self.scores) | depth_errors(objects, found, classes)
        self.log("val/frames", float(len(scored)), rank_zero_only=True)
        for name, value in self.validation.items():
            self.log(name, value, rank_zero_only=True)

    def test_step(self, scene: Scene, _: int) -> None:
        """Detect in one frame and write its result file."""
        write_results(self.results / f"{scene.id}.txt", self._detect(scene), scene.camera)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Say which model the weights are for, and what depth they were trained with."""
        checkpoint["model_name"] = self.model_name
        checkpoint["class_spec"] = self.detector.classes.to_json()
        checkpoint["depth_source"] = _depth_of(self.trainer)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Raises TrainingError where the weights are another model's, or what was beside it is another objective's."""
        if checkpoint["model_name"] != self.model_name:
            raise TrainingError(
                f"the checkpoint is of model {checkpoint['model_name']}, the configuration is of {self.model_name}"
            )
        trained, classes = stored_classes(checkpoint), self.detector.classes
        if not trained.same_coding(classes):
            raise TrainingError(
                f"the checkpoint finds {', '.join(trained.names)}, model.classes are {', '.join(classes.names)} (or"
                " differ in their mean sizes): give its own configuration, which lies beside it as config.yaml"
            )
        beside = {name for name in checkpoint["state_dict"] if name.startswith("objective.")}
        if beside != {f"objective.{name}" for name in self.objective.state_dict()}:
            raise TrainingError(
                "the checkpoint was trained by another model.objective, or with other parts of it, than the"
                " configuration has: give its own, which lies beside it as config.yaml"
            )

    def _detect(self, scene: Scene) -> Detections:
        with torch.autocast(self.device.type, enabled=False):
            depth = None if scene.depth is None else scene.depth[None]
            features = self.objective.extract_features(self.detector, scene.canvas[None], scene.P[None], depth)
            decoded = self.detector.decode(features, scene.P[None])
        detector = self.detector
        return postprocess(decoded.first(), detector.classes, scene.camera, scene.seen, detector.nms)

    def _total(self, value: Tensor) -> Tensor:
        # What is gathered carries no gradient: counts, and sums under no_grad.
        return self.all_gather(value).sum(0) if self.trainer.world_size > 1 else value

    def _not_finite(self, losses: dict[str, Tensor], batch: Batch) -> str:
        bad = ", ".join(f"{name} is {float(value)}" for name, value in losses.items() if not torch.isfinite(value))
        return (
            f"the loss is not finite at step {self.global_step} (epoch {self.current_epoch}): "
            f"{bad or 'that of another process'}; frames of the batch: {', '.join(batch.ids)}. Look at their labels,"
            " lower model.lr, or set trainer.gradient_clip_val"
        )


def _depth_of(trainer: lightning.Trainer) -> str | None:
    return getattr(trainer.datamodule, "depth", None)


def _batch_norms(detector: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in detector.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]


def _part(detector: nn.Module, name: str) -> nn.Module:
    try:
        return detector.get_submodule(name)
    except AttributeError as error:
        parts = ", ".join(found for found, _ in detector.named_modules() if found.count(".") < 2 and found)
        raise TrainingError(f"model.freeze: there is no {name} in the detector, but {parts}") from error


def summary(scores: Scores) -> dict[str, float]:
    """What is logged of a validation: AP_R40 in percent, 0 where nothing of a class was found.

    `val/<class>_<bev or 3d>_<difficulty>`, and for the looser overlaps `val/<class>_<bev or 3d>_loose_moderate`.
    """
    values = {}
    for name, metrics in scores.percent("R40", "strict").items():
        for metric in ("bev", "3d"):
            for level, percent in zip(DIFFICULTIES, metrics[metric] or (0.0,) * 3, strict=True):
                values[f"val/{name}_{metric}_{level}"] = percent
    for name, metrics in scores.percent("R40", "loose").items():
        for metric in ("bev", "3d"):
            values[f"val/{name}_{metric}_loose_moderate"] = (metrics[metric] or (0.0,) * 3)[1]
    return values


def depth_errors(objects: Sequence[Objects], found: Sequence[Detections], classes: ClassSpec) -> dict[str, float]:
    """`val/<class>_depth_error`: median |z error| in metres of the objects that are found, 0 where none is."""
    medians = {}
    for name in classes.names:
        pairs = [associate(labels, seen, name, classes) for labels, seen in zip(objects, found, strict=True)]
        errors = object_errors(zip(objects, found, pairs, strict=True))
        depth = errors.error[errors.found, 0]
        medians[f"val/{name}_depth_error"] = float(np.median(depth)) if len(depth) else 0.0
    return medians


def logged_metrics(classes: ClassSpec) -> tuple[str, ...]:
    """The names of `summary`."""
    return tuple(summary(evaluate([], [], classes)))
