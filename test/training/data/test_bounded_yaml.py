"""YAML that is small and stands for much."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.bounded_yaml import YamlBoundsError, load_yaml
from training.errors import TrainingError
from training.parser import _mapping, _text

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{p}'] * 10)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {lr: 0.001, lr: 0.002}\n", "lr stands in line 1 and again in line 1"),
        ("model:\n  lr: 1\ndata: {}\nmodel:\n  name: a\n", "model stands in line 1 and again in line 4"),
        ('a: [{b: 1,\n "b": 2}]\n', "b stands in line 1 and again in line 2"),
    ],
)
def test_a_configuration_with_a_key_twice_is_refused(tmp_path, text, words):
    with pytest.raises(TrainingError, match=f"twice.yaml is no configuration: {words}$"):
        _mapping(text, tmp_path / "twice.yaml")
    assert load_yaml(text) == yaml.safe_load(text)  # other people's files are read as YAML has them


def test_a_key_may_stand_beside_what_it_overrides(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {x: 4}\n"
    assert _mapping(text, tmp_path / "once.yaml") == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 5000 + "]" * 5000, "nested more than 50 levels deep"),
        ("\n".join(" " * i + "a:" for i in range(200)), "nested more than 50"),
        (LAUGHS, "its aliases stand for more than 1000000 values"),
    ],
)
def test_what_goes_too_far_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(YamlBoundsError, match=words):
        load_yaml(text)
    with pytest.raises(TrainingError, match=f"deep.yaml is no configuration: .*{words}") as caught:
        _mapping(text, tmp_path / "deep.yaml")
    assert "\n" not in str(caught.value)


def test_a_configuration_that_is_no_text_is_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"model: caf\xe9\n")
    with pytest.raises(TrainingError, match=r"a\.yaml is no configuration: it is no text in UTF-8"):
        _text(tmp_path / "a.yaml")
    with pytest.raises(TrainingError, match="is no configuration: Is a directory"):
        _text(tmp_path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100)
@given(VALUES, VALUES)
def test_all_else_is_read_as_yaml_reads_it(first, second):
    shared = [first, first, second]
    assert load_yaml(yaml.safe_dump(shared)) == shared


@settings(max_examples=200)
@given(st.text(alphabet="ab&*:-[]{}\n ,'|>!%", max_size=60))
def test_any_text_gives_a_value_or_an_error_of_yaml(text):
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(yaml.YAMLError):
            load_yaml(text)
    else:
        assert load_yaml(text) == expected or expected != expected
