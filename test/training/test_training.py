"""Each detector as a user has it: trained and scored through the command line, and run on an image."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.training_bench import Training, configure

from add_model.classes import ClassSpec, ObjectClass
from add_model.geometry.camera import Camera
from add_model.predictor import SHIPPED_MODEL, Predictor
from add_model.registry import MODELS, build
from add_model.weights_file import load, save
from training.errors import TrainingError
from training.export import read_checkpoint
from training.lightning_module import LitDetector
from training.metrics import read_metrics
from training.objectives import TeacherTraining
from training.pretrained import initial_detector

pytestmark = pytest.mark.slow

LOSSES = {
    "caddn_plain": {"label", "box", "direction", "depth_map"},
    "monodetr_plain": {"label", "centre", "sides", "overlap", "depth", "size_3d", "heading", "depth_map"},
}


def start(folder, name, depth="dense", objective="training.objectives.Baseline", **options):
    world = {"width": 160, "height": 96, "focal": 180}
    data = {"world": world, "depth": depth, "augmentation": {"size": [96, 64]}}
    model = {"name": name, "init_weights": None, "objective": {"class_path": objective, "init_args": options}}
    config = configure(folder / "tiny.yaml", model=model, data=data, trainer={"max_epochs": 1})
    return Training(folder, "fit", "--config", config)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_from_training_to_a_prediction(name, tmp_path):
    run = start(tmp_path, name)
    assert run.finish() == 0, run.text()
    rows = read_metrics(tmp_path / "runs" / "tiny" / "metrics.csv")
    logged = {key.removeprefix("train/") for key in rows[0] if key.startswith("train/")}
    assert logged - {"lr", "loss"} == LOSSES[name]
    assert any("val/Car_3d_moderate" in row for row in rows)
    kind, detector = read_checkpoint(tmp_path / "runs/tiny/last.ckpt")
    assert kind == name
    save(tmp_path / "model.safetensors", name, detector)
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    camera = Camera.pinhole(200, 200, 100, 50, 200, 100)
    found = Predictor(tmp_path / "model.safetensors", device="cpu").predict(image, camera)
    assert len(found) and np.isfinite(found.boxes).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all() and (found.depth_std > 0).all()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_target_encoder_goes_to_loader_processes_light(name):
    target_encoder = build(name).target_encoder
    packed = pickle.dumps(target_encoder)
    assert len(packed) < 2000
    assert pickle.loads(packed) == target_encoder


def test_caddn_without_depth_says_where_to_name_it(tmp_path):
    run = start(tmp_path, "caddn_plain", depth=None)
    assert run.finish() == 1
    assert "give data.depth lidar, object or dense" in run.text()
    assert "Traceback" not in run.text()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_teacher_is_trained_with_depth_and_not_exported(name, tmp_path):
    run = start(tmp_path, name, depth="object", objective="training.objectives.TeacherTraining")
    assert run.finish() == 0, run.text()
    with pytest.raises(TrainingError, match="is a teacher"):
        read_checkpoint(tmp_path / "runs/tiny/last.ckpt")


def test_what_is_for_monodle_alone_says_so(tmp_path):
    run = start(tmp_path, "caddn_plain", objective="training.objectives.controls.DenseTruth")
    assert run.finish() == 1
    assert (
        "this control is for MonoDLE alone: train CaDDN with model.objective Baseline, TeacherTraining or"
        " ADDDistillation" in run.text()
    )


def test_a_backbone_is_taken_from_a_run_of_another_detector(tmp_path):
    donor = build("monodle_plain")
    weights = {f"detector.{name}": value for name, value in donor.state_dict().items()}
    torch.save({"model_name": "monodle_plain", "state_dict": weights}, tmp_path / "last.ckpt")
    for name in ("monodetr_plain", "caddn_plain"):
        found = initial_detector(name, f"backbone:{tmp_path / 'last.ckpt'}").backbone.state_dict()
        assert found.keys() == donor.backbone.state_dict().keys()
        for key, value in donor.backbone.state_dict().items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
    with pytest.raises(TrainingError, match="holds a monodle_plain, whose backbone is not that of monodle_lite0"):
        initial_detector("monodle_lite0", f"backbone:{tmp_path / 'last.ckpt'}")
    with pytest.raises(TrainingError, match=r"no such checkpoint: absent\.ckpt"):
        initial_detector("monodetr_plain", "backbone:absent.ckpt")


def test_a_backbone_is_taken_from_the_weights_that_ship_for_classes_of_ones_own():
    classes = ClassSpec((ObjectClass("forklift", (2.8, 1.2, 2.1)),))
    shipped = SHIPPED_MODEL.with_suffix(".safetensors")
    found = initial_detector("monodle_lite0", f"backbone:{shipped}", classes)
    assert found.classes == classes
    for key, value in load(shipped).backbone.state_dict().items():
        torch.testing.assert_close(found.backbone.state_dict()[key], value, rtol=0, atol=0)
    with pytest.raises(TrainingError, match=f"begin with what does not depend on them, transfer:{shipped}$"):
        initial_detector("monodle_lite0", str(shipped), classes)
    with pytest.raises(TrainingError, match="holds a network, whose backbone is not that of monodle_plain"):
        initial_detector("monodle_plain", f"backbone:{shipped}")


@pytest.mark.parametrize("count", [1, 3])
def test_all_that_does_not_depend_on_classes_is_transferred(count):
    names = ("forklift", "pallet", "person")[:count]
    classes = ClassSpec(tuple(ObjectClass(name, (1.0, 1.0, 1.0)) for name in names))
    shipped = SHIPPED_MODEL.with_suffix(".safetensors")
    found, before = initial_detector("monodle_lite0", f"transfer:{shipped}", classes), load(shipped)
    assert found.classes == classes
    old = before.state_dict()
    kept = {
        name
        for name, value in found.state_dict().items()
        if old[name].shape == value.shape and torch.equal(old[name], value)
    }
    own = old.keys() - kept
    # The last layer of the heatmap alone, whose channels are the classes: three of other names as well.
    assert own and all("heatmap" in name for name in own)
    with pytest.raises(TrainingError, match=r"not the weights of model\.name monodle_plain"):
        initial_detector("monodle_plain", f"transfer:{shipped}")


def test_weights_of_something_else_give_one_message(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(TrainingError, match=r"^model.init_weights: .*other.pth does not hold DLA-34: [^\n]*$"):
        initial_detector("monodle_dla34", str(tmp_path / "other.pth"))


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
def test_a_compiled_detector_sees_the_same_and_is_saved_by_the_same_names():
    torch.manual_seed(0)
    plain = LitDetector("monodle_plain", init_weights=None)
    compiled = LitDetector("monodle_plain", init_weights=None, compile="eager")
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    compiled.load_state_dict(plain.state_dict())
    images, P = torch.randint(0, 255, (2, 64, 96, 3), dtype=torch.uint8), torch.eye(3, 4).expand(2, -1, -1)
    calls = []
    torch._dynamo.reset()
    counted = torch.compile(plain.detector.extract_features, backend=lambda graph, _: calls.append(1) or graph.forward)
    with torch.no_grad():
        expected = plain.eval().detector.extract_features(images, P)
        torch.testing.assert_close(compiled.eval().detector.extract_features(images, P), expected, rtol=0, atol=0)
        torch.testing.assert_close(counted(images, P), expected, rtol=0, atol=0)
    assert calls  # the features are indeed what is compiled


def test_frozen_batch_norms_are_the_detectors():
    """A teacher's depth branch has norms without statistics of anything yet."""
    module = LitDetector("monodetr_plain", init_weights=None, freeze_bn=True, objective=TeacherTraining())
    norms = torch.nn.modules.batchnorm._BatchNorm
    assert {m.training for m in module.detector.modules() if isinstance(m, norms)} == {False}
    assert {m.training for m in module.objective.modules() if isinstance(m, norms)} == {True}
    options = {"init_weights": None, "freeze_bn_affine": True, "objective": TeacherTraining()}
    module = LitDetector("monodetr_plain", **options)
    for part, learn in ((module.detector, False), (module.objective, True)):
        found = [p.requires_grad for m in part.modules() if isinstance(m, norms) for p in m.parameters()]
        assert found and set(found) == {learn}


def test_frozen_parts_do_not_learn():
    module = LitDetector("monodetr_resnet50", init_weights=None, freeze=["backbone.bn1", "backbone.layer1"])
    frozen = {name for name, p in module.detector.named_parameters() if not p.requires_grad}
    assert {name.split(".")[1] for name in frozen} == {"bn1", "layer1"} and len(frozen) == 2 + 3 * 9 + 3
    assert not module.detector.backbone.layer1[0].bn1.training and module.detector.backbone.layer2[0].bn1.training
    with pytest.raises(TrainingError, match=r"there is no backbone\.trunk in the detector, but .*backbone"):
        LitDetector("monodle_plain", init_weights=None, freeze=["backbone.trunk"])


def test_a_checkpoint_of_another_objective_says_so(tmp_path):
    run = start(tmp_path, "monodle_plain", objective="training.objectives.TeacherTraining")
    assert run.finish() == 0, run.text()
    options = ("--config", "tiny.yaml", "--model.objective", "Baseline", "--ckpt_path", "runs/tiny/last.ckpt")
    run = Training(tmp_path, "validate", *options, log="again.txt")
    assert run.finish() == 1
    assert "the checkpoint was trained by another model.objective" in run.text() and "Traceback" not in run.text()


def test_weights_serve_classes_of_the_same_names_and_sizes_alone(tmp_path):
    """Colours, overlaps and look-alikes are no part of the network's outputs."""
    car = ObjectClass("Car", (3.9, 1.6, 1.5))
    detector = build("monodle_plain", ClassSpec((car,)))
    save(tmp_path / "car.safetensors", "monodle_plain", detector)
    other = replace(car, colour=(1, 2, 3), min_overlap=0.6, look_alikes=("Van",))
    found = initial_detector("monodle_plain", str(tmp_path / "car.safetensors"), ClassSpec((other,)))
    assert found.classes == found.target_encoder.classes == ClassSpec((other,))
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in detector.state_dict().items())
    for changed in (replace(car, name="Bus"), replace(car, mean_size=(9.0, 2.5, 3.0))):
        with pytest.raises(TrainingError, match=r"finds Car, model\.classes are (Bus|Car)"):
            initial_detector("monodle_plain", str(tmp_path / "car.safetensors"), ClassSpec((changed,)))
    module = LitDetector("monodle_plain", None, classes=[replace(car, name="Bus")])
    checkpoint = {"model_name": "monodle_plain", "class_spec": ClassSpec((car,)).to_json(), "state_dict": {}}
    with pytest.raises(TrainingError, match=r"the checkpoint finds Car, model\.classes are Bus"):
        module.on_load_checkpoint(checkpoint)


def test_deterministic_runs_end_with_the_same_bits(tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        data = {"augmentation": {"size": [64, 64], "color_jitter": True}}
        trainer = {"max_epochs": 1, "deterministic": True}
        config = configure(tmp_path / f"{name}.yaml", data=data, trainer=trainer)
        run = Training(tmp_path, "fit", "--config", config, "--seed_everything", seed)
        assert run.finish() == 0, run.text()
        state = torch.load(tmp_path / "runs" / name / "last.ckpt", weights_only=False)["state_dict"]
        weights.append(torch.cat([value.double().flatten() for value in state.values()]))
    same, again, other = weights
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
