"""Lines of label and result files for tests."""


def label(kind="Car", box=(100, 100, 200, 180), place=(0, 1.6, 20), size=(1.5, 1.6, 4.0), **other):
    """A label line; `size` is h, w, l."""
    o = {"truncated": 0, "occluded": 0, "alpha": 0.3, "ry": 0.0, **other}
    fields = [kind, o["truncated"], o["occluded"], o["alpha"], *box, *size, *place, o["ry"]]
    return " ".join(map(str, [*fields, *([o["score"]] if "score" in o else [])]))


def found(score, **other):
    return label(score=score, **other)
