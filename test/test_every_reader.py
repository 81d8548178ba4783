"""Every reader of files against bytes of any kind: a value, or its own error in one sentence that names the file."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from reader_cases import OWN, cases

NAMES = [
    "labels", "results", "calibration", "tracks", "timestamps", "frame ids", "camera_info", "OpenCV's calibration",
    "Kalibr's calibration", "classes", "oxts", "frames.tsv", "metrics.csv", "config.yaml", "image", "an image's header",
    "depth picture", "scan", "weights", "checkpoint", "recorded detections", "a bag's metadata", "cvat", "kitti_raw",
    "KITTI-360's boxes", "KITTI-360's poses", "Astyx's labels", "Astyx's calibration",
    "nuScenes' names of scenes", "nuScenes' calibrated_sensor",
    "nuScenes' sample_data", "nuScenes' sample_annotation",
    "datumaro", "labelcloud", "labelcloud_rel", "sustechpoints", "omni3d", "tracklets",
]  # fmt: skip
SHARE, KINDS = st.floats(0, 1), st.sampled_from(["replace", "cut", "grow", "any"])
PIECES = [b"nan", b"1e999", b"-1", b"\xff", b"\0", b"\r\n", b" ", b"[[", b"{", b"99999999999999999999", b"null", b'""']


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    found = cases(tmp_path_factory.mktemp("good"))
    assert sorted(found) == sorted(NAMES)
    return found


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SHARE, SHARE, st.sampled_from(PIECES) | st.binary(max_size=30), KINDS)
def test_a_value_or_an_error_of_its_own(name, readers, tmp_path, first, second, piece, kind):
    case = readers[name]
    at, to = sorted(int(share * len(case.data)) for share in (first, second))
    ends = {"replace": (at, at + len(piece)), "cut": (at, to), "grow": (at, at), "any": (0, len(case.data))}[kind]
    given_bytes = case.data[: ends[0]] + (b"" if kind == "cut" else piece) + case.data[ends[1] :]
    try:
        case(tmp_path, given_bytes)
    except OWN as error:
        said = str(error)
        assert "\n" not in said and len(said) < 1000, said
        parts = case.file.split("/")
        assert any(part in said for part in [*parts, *(part.split(".")[0] for part in parts), str(tmp_path)]), said


def test_the_good_files_are_read(readers, tmp_path):
    for name, case in readers.items():
        if name != "weights":  # a file of one weight is of no model
            case(tmp_path / name.replace(" ", "_"), case.data)
