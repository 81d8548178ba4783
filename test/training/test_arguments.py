"""Numbers on the command line: each command refuses what none of its kind can be, in the same words."""

import argparse

import pytest

from training import inspect_data, memory, seeds, track, world
from training.arguments import at_least, positive, share
from training.report import __main__ as report


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (at_least(0), "0", 0),
        (at_least(3), "12", 12),
        (positive, "1e-9", 1e-9),
        (positive, "1e9", 1e9),
        (share, "0", 0.0),
        (share, "1", 1.0),
        (share, "0.25", 0.25),
    ],
)
def test_numbers_of_a_kind_are_taken(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "refused", "said"),
    [
        (at_least(3), ("2", "-3", "3.5", "", "many", "1e3"), "is not a whole number of 3 or more"),
        (positive, ("0", "-1", "inf", "nan", "1e10", "", "fast"), "is not a number above 0, 1e9 at most"),
        (share, ("-0.1", "1.1", "nan", "inf", "", "half"), "is not a number from 0 to 1"),
    ],
)
def test_others_are_refused_with_what_is_needed(kind, refused, said):
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError) as error:
            kind(text)
        assert str(error.value) == f"{text!r} {said}"


@pytest.mark.parametrize(
    ("parser", "words"),
    [
        (lambda: inspect_data.parser("check"), ["data", "--pictures", "-1"]),
        (lambda: inspect_data.parser("classes"), ["data", "--least", "0"]),
        (memory.parser, ["--config", "x", "--batches", "0"]),
        (seeds.parser, ["--config", "x", "--seeds", "-1"]),
        (track.parser, ["drive", "--pictures", "-1"]),
        (track.parser, ["drive", "--score-threshold", "2"]),
        (report.parser, ["--out", "x", "--results", "y", "--score", "nan"]),
        (world.parser, ["--out", "x", "--frames", "1", "--seed", "-1"]),
        (world.parser, ["--out", "x", "--frames", "1", "--width", "0"]),
    ],
)
def test_commands_refuse_what_they_cannot_use(parser, words, capsys):
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 2 and f"argument {words[-2]}: {words[-1]!r} is not" in capsys.readouterr().err
