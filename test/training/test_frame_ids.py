"""--ids of each command: a file by its path from here, or from the data set's folder."""

import pytest

from add_ros.bags import convert
from training import calibrate_scores, evaluate, inspect_data, labels, predict
from training.report import __main__ as report
from training.world import main as world


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two frames, of which ImageSets/one.txt names the second, and their labels as results."""
    root = tmp_path_factory.mktemp("world")
    assert world(["--out", str(root), "--frames", "2", "--width", "310", "--height", "94"]) == 0
    (root / "ImageSets" / "one.txt").write_text("000001\n")
    (root / "results").mkdir()
    for path in (root / "training" / "label_2").iterdir():
        rows = [f"{line} 0.9\n" for line in path.read_text().splitlines() if not line.startswith("DontCare")]
        (root / "results" / path.name).write_text("".join(rows))
    return root


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (predict.main, "--kitti ROOT --out OUT", "1 frames, "),
        (calibrate_scores.main, "--model monodle_lite0 --data ROOT --out OUT", "OUT: put it"),
        (evaluate.main, "--labels ROOT/training/label_2 --results ROOT/results", "1 frames, "),
        (report.main, "--kitti ROOT --results ROOT/results --out OUT", "OUT"),
        (inspect_data.main, "check ROOT", "1 frames"),
        (labels.main, "export --data ROOT --format omni3d --out OUT", "1 frames, "),
        (convert.main, "ROOT OUT", "1 frames of "),
    ],
)
def test_a_file_in_the_data_sets_folder_is_found(main, arguments, said, root, tmp_path, capsys):
    out = str(tmp_path / "out")
    words = [word.replace("ROOT", str(root)).replace("OUT", out) for word in arguments.split()]
    status = main([*words, "--ids", "ImageSets/one.txt"])
    printed = capsys.readouterr()
    assert "no file of frame ids" not in printed.err
    assert said.replace("OUT", out) in printed.out, (status, printed)
