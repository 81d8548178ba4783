"""Classes that are not KITTI's, for tests."""

from add_model.classes import ClassSpec, ObjectClass

FORKLIFT = ObjectClass(
    "Forklift", (2.8, 1.2, 2.1), neighbours=("Reach_truck", "tugger"), min_overlap=0.6, loose_overlap=0.4
)
PALLET = ObjectClass("pallet", (1.2, 0.8, 0.8), colour=(10, 200, 30))
WAREHOUSE = ClassSpec((FORKLIFT, PALLET))
THREE = ClassSpec((FORKLIFT, PALLET, ObjectClass("person", (0.8, 0.7, 1.8))))  # as many as the shipped network has


def write_classes(path, classes=WAREHOUSE):
    """The classes as a JSON file; returns its path."""
    path.write_text(classes.to_json())
    return path


def renamed_model(source, target, classes):
    """A copy of an .onnx file whose metadata name other classes."""
    import onnx

    model = onnx.load(source)
    for entry in list(model.metadata_props):
        if entry.key in ("classes", "class_spec"):
            model.metadata_props.remove(entry)
    for key, value in (("classes", ",".join(classes.names)), ("class_spec", classes.to_json())):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, target)
    return target
