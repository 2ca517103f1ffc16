"""YAML 1.2: plain values with lines, and every slip named with its line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.errors import ConfigError
from mcdist.yaml_text import read_yaml, write_yaml


def test_only_true_and_false_are_booleans_and_dates_are_text():
    content = read_yaml("a: off\nb: true\nc: 1e-4\nd: 2026-11-30\ne: ~\nf: 7\n", where="x")
    assert content == {"a": "off", "b": True, "c": 1e-4, "d": "2026-11-30", "e": None, "f": 7}
    assert content.lines == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}


def test_an_empty_document_is_none():
    assert read_yaml("# nothing\n", where="x") is None


def test_a_key_is_the_text_that_is_written():
    assert list(read_yaml("{null: 1, ~: 2, true: 3, 1.5: 4, 0x10: 5}", where="x")) == ["null", "~", "true", "1.5", "0x10"]


def test_the_first_of_several_merged_mappings_wins_and_own_keys_win_over_all():
    content = read_yaml("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  z: 3\n  <<: [*a, *b]\n", where="x")
    assert content["c"] == {"x": 1, "y": 1, "z": 3}
    assert content["c"].lines == {"x": 1, "y": 1, "z": 4}


def test_a_merged_mapping_may_be_used_twice():
    assert read_yaml("a: &a {<<: {x: 1}, y: 2}\nb: {<<: *a}\nc: {<<: *a}\n", where="x")["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is written twice, in x:1 and x:3; remove one of the two"),
        ("a: 1\n? [b]\n: 2\n", "x:2: a key must be text"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", "x:2: the tag .*os.system is not allowed"),
        ("a: !!set {b}\n", "x:1: the tag .*set is not allowed"),
        ("a: [\n", r"x:\d is not YAML"),
        ("a: 1\n---\nb: 2\n", "x:2 is not YAML: expected a single document"),
        ("a: *b\n", "x:1 is not YAML: found undefined alias 'b'"),
        ("a: &a [1, *a]\n", "x:1 contains itself by an alias"),
        ("a:\n  <<: 3\n", "x:2: `<<` must merge a mapping or a list of mappings, got 3"),
        ("a: !!int one\n", "x:1: 'one' is not a value that YAML allows here"),
        ("a: \0\n", "x:1 is not YAML"),
        ("[" * 500, "x must have brackets at most 50 deep"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(text, where="x")
    assert "\n" not in str(caught.value)


def test_aliases_of_aliases_take_no_more_memory_than_they_are_long():
    levels = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))]
    assert len(read_yaml("\n".join(levels), where="x")["a39"]) == 9


VALUES = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), st.text(max_size=20), st.lists(st.integers(), max_size=3))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=10), VALUES, max_size=5))
def test_what_is_written_is_read_back(content):
    assert read_yaml(write_yaml(content), where="x") == content


def test_what_older_readers_take_for_other_values_is_quoted():
    assert write_yaml({"a": "off", "b": "1:30", "c": 1e-9}) == "a: 'off'\nb: '1:30'\nc: 1.0e-09\n"
