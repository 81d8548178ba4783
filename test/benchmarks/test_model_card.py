"""The model card's numbers of objects are those of the labels, and its script writes what the card has."""

import re
import sys

from support.paths import ROOT

from add_model.detections import Detections
from training import world

sys.path.insert(0, str(ROOT / "benchmarks"))
import model_card as script
import seen


def by_hand(kitti):
    """class -> 'easy / moderate / hard', counted line by line by the benchmark's rules, over the validation frames."""
    counts = {name: [0, 0, 0] for name in ("Car", "Pedestrian", "Cyclist")}
    for name in (kitti / "ImageSets" / "val.txt").read_text().split():
        for line in (kitti / "training" / "label_2" / f"{name}.txt").read_text().splitlines():
            kind, truncated, occluded, _, _, top, _, bottom = line.split()[:8]
            for level, (height, hidden, cut) in enumerate([(40, 0, 0.15), (25, 1, 0.3), (25, 2, 0.5)]):
                fits = float(bottom) - float(top) > height and int(occluded) <= hidden and float(truncated) <= cut
                if kind in counts:
                    counts[kind][level] += fits
    return {name: " / ".join(map(str, values)) for name, values in counts.items()}


def test_the_card_has_the_numbers_of_objects(kitti_mini):
    real = (ROOT / "add_model" / "weights" / "README.md").read_text(encoding="utf-8").split("**Synthetic**")[0]
    rows = dict(re.findall(r"^\| (\w+)(?:, overlap 0.7)? \| (\d[\d /]*\d) \|", real, re.MULTILINE))
    assert rows == by_hand(kitti_mini)
    assert real.count("too few objects (1)") == 6  # of the one pedestrian and the one cyclist: 2D, BEV and 3D


class Blind:
    def predict(self, image, camera):
        return Detections.empty()


def test_held_out_frames_are_seen_each_by_its_own_model(tmp_path, monkeypatch):
    assert world.main(["--out", str(tmp_path), "--frames", "3", "--width", "64", "--height", "32"]) == 0
    (tmp_path / "a.txt").write_text("000002\n000000\n")
    (tmp_path / "b.txt").write_text("000001\n")
    asked = []

    class Named(Blind):
        def __init__(self, model, **_):
            self.model = model

        def predict(self, image, camera):
            asked.append((self.model, image.tobytes()))
            return super().predict(image, camera)

    monkeypatch.setattr(seen, "Predictor", Named)
    parts = [("of_b.onnx", str(tmp_path / "a.txt")), ("of_a.onnx", str(tmp_path / "b.txt"))]
    assert len(seen.held_out(tmp_path, parts)) == 3
    (tmp_path / "all.txt").write_text("000000\n000001\n000002\n")
    pictures = [sample.image.tobytes() for sample in seen.frames(tmp_path, tmp_path / "all.txt")]
    assert asked == [("of_b.onnx", pictures[2]), ("of_b.onnx", pictures[0]), ("of_a.onnx", pictures[1])]


def test_the_script_tells_the_numbers_and_where_there_are_too_few(kitti_mini):
    images = seen.seen(Blind(), seen.frames(kitti_mini, kitti_mini / "ImageSets" / "val.txt"))
    lines = script.scores(images).splitlines()
    counted = {line.split()[0]: line.partition("objects")[2].strip() for line in lines[:3]}
    assert counted == by_hand(kitti_mini)
    few = [line for line in lines if line.endswith("too few objects (1)")]
    assert len(few) == 2 * (4 + 2)  # pedestrians and cyclists: four metrics, and two of them at the looser overlap
    assert "only 21 objects" in next(line for line in lines if "Car easy" in line)


def test_classes_with_more_objects_are_scored():
    """Streets with several objects of each class, in which nothing is found: no score, but not too few."""
    text = script.scores(seen.seen(Blind(), seen.streets(1, 0, 4)))
    assert text.count("3D  @") == 2 * 3 and "too few" not in text
