"""The model card's numbers of objects are those of the labels, and its script writes what the card has."""

import importlib.util
import re

from support.paths import ROOT

from add_model.detections import Detections

_spec = importlib.util.spec_from_file_location("model_card", ROOT / "benchmarks" / "model_card.py")
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)


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


def test_the_script_tells_the_numbers_and_where_there_are_too_few(kitti_mini):
    lines = script.scores(Blind(), script.real(kitti_mini, "val")).splitlines()
    counted = {line.split()[0]: line.partition("objects")[2].strip() for line in lines[:3]}
    assert counted == by_hand(kitti_mini)
    few = [line for line in lines if line.endswith("too few objects (1)")]
    assert len(few) == 2 * (4 + 2)  # pedestrians and cyclists: four metrics, and two of them at the looser overlap
    assert "only 21 objects" in next(line for line in lines if "Car easy" in line)


def test_classes_with_more_objects_are_scored():
    """Streets with several objects of each class, in which nothing is found: no score, but not too few."""
    text = script.scores(Blind(), script.streets(1, 4))
    assert text.count("3D  @") == 2 * 3 and "too few" not in text
