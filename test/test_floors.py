"""The floors of the house: every module imports from the floors below its own, and nothing imports in a circle."""

from graphlib import CycleError, TopologicalSorter

import pytest
from support.import_graph import LAYERS, MODULES, own_imports

# Lowest first; a folder means all that is in it that is not named itself.
FLOORS = (
    ("add_model.errors", "add_model.atomic_io", "add_model.signals", "add_model.cores", "add_model.renamed_keys"),
    (
        "add_model.classes",
        "add_model.colours",
        "add_model.labels",
        "add_model.candidates",
        "add_model.detections",
        "add_model.geometry",
    ),
    (
        "add_model.networks",
        "add_model.nms",
        "add_model.drawing",
        "add_model.image_decoding",
        "add_model.image_headers",
        "add_model.pose_covariance",
        "add_model.score_calibration",
    ),
    ("add_model.metadata", "add_model.preprocessing", "add_model.ground", "add_model.flip_test", "add_model.tracking"),
    ("add_model.distillation",),
    ("add_model.detectors.base", "add_model.detectors"),
    ("add_model.registry",),
    ("add_model.weights_file",),
    ("add_model.backends",),
    ("add_model.predictor", "add_model.export"),
    ("training",),
    ("add_ros",),
)
FOLDERS = {name.rpartition(".")[0] for name in MODULES} | set(LAYERS)


def floor_of(name):
    while name:
        for number, floor in enumerate(FLOORS):
            if name in floor:
                return number
        name = name.rpartition(".")[0]
    return None


def test_every_module_has_a_floor():
    assert [name for name in MODULES if name != "add_model" and floor_of(name) is None] == []


def test_no_import_goes_up():
    upward = {
        f"{name} -> {other}"
        for name in MODULES
        for other in own_imports(name)
        if other not in FOLDERS and floor_of(other) is not None and floor_of(other) > floor_of(name)
    }
    assert upward == set()


def test_detectors_do_not_know_each_other():
    """A new detector is one folder: what several share lies beside the folders."""
    inside = [name for name in MODULES if name.startswith("add_model.detectors.")]
    families = {name.split(".")[2] for name in inside if name.count(".") > 2}
    assert {"caddn", "monodetr", "monodle"} <= families
    across = {
        f"{name} -> {other}"
        for name in inside
        for other in own_imports(name) & set(inside)
        for a, b in [(name.split(".")[2], other.split(".")[2])]
        if a != b and a in families and b in families
    }
    assert across == set()


def test_no_module_imports_in_a_circle():
    # `from package import module` within the package names the package as well.
    graph = {name: {b for b in own_imports(name) if not name.startswith(f"{b}.")} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
