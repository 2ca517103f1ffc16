"""Label subsets: nested, the same for a seed, readable, and refused where they do not fit."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.errors import ConfigError, DataError
from mcdist.finetune.settings import FRACTIONS_PERCENT
from mcdist.finetune.subsets import check_subsets, draw_subsets, extended, num_of, read_subsets, write_subsets

KEYS = [f"photo_{number:03d}" for number in range(240)]


def drawn(keys=KEYS, *, fractions=FRACTIONS_PERCENT, seeds=range(3)):
    return draw_subsets(keys, samples="abc", fractions_percent=fractions, seeds=seeds)


@settings(max_examples=25)
@given(st.integers(100, 400), st.integers(0, 3))
def test_a_smaller_fraction_is_in_every_larger_one(num_photos, seed):
    keys = [f"k{number}" for number in range(num_photos)]
    subsets = drawn(keys, seeds=range(4))
    found = [subsets.keys(percent=percent, seed=seed) for percent in FRACTIONS_PERCENT]
    assert found[-1] is None
    for smaller, larger in zip(found, found[1:-1], strict=False):
        assert set(smaller) <= set(larger) <= set(keys)
    assert [len(set(own)) for own in found[:-1]] == [num_of(percent, num_photos=num_photos) for percent in FRACTIONS_PERCENT[:-1]]


def test_an_order_is_the_seeds_own_whatever_the_fractions_and_other_seeds():
    few, many = drawn(fractions=(5.0,), seeds=(1,)), drawn(seeds=range(3))
    assert few.keys(percent=5.0, seed=1) == many.keys(percent=5.0, seed=1) != many.keys(percent=5.0, seed=0)


def test_the_file_is_small_readable_and_read_back(tmp_path):
    subsets, path = drawn(), tmp_path / "subsets.json"
    write_subsets(subsets, path=path)
    assert read_subsets(path) == subsets
    content = json.loads(path.read_text())
    assert list(map(len, content["orders"].values())) == [30, 30, 30] and content["num_photos"] == 240
    check_subsets(subsets, path=path, keys=KEYS, samples="abc", fractions_percent=FRACTIONS_PERCENT, seeds=range(3))


def test_more_seeds_and_larger_fractions_go_on_with_what_is_there():
    few, many = drawn(fractions=(1.0, 5.0), seeds=(0,)), drawn(seeds=range(3))
    assert extended(few, drawn=many) == many == extended(many, drawn=few)
    chosen = replace(few, orders={0: tuple(reversed(KEYS[:12]))})
    kept = extended(chosen, drawn=many)
    assert kept.orders[0] == chosen.orders[0] and kept.orders[1] == many.orders[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": KEYS[100:]}, "which is no labelled photo of --train-shards"),
        ({"keys": [*KEYS, "another"]}, "was drawn from 240 labelled photos"),
        ({"samples": "def"}, "was drawn from 240 labelled photos .digest abc., --train-shards has 240 .digest def."),
        ({"seeds": range(4)}, "has no order for seed 3"),
        ({"fractions_percent": (1.0, 50.0)}, "has 30 photos for seed 0, --fractions needs 120 photos"),
    ],
)
def test_subsets_of_other_photos_or_too_few_are_refused(tmp_path, change, message):
    wanted = {"keys": KEYS, "samples": "abc", "fractions_percent": FRACTIONS_PERCENT, "seeds": range(3), **change}
    with pytest.raises(ConfigError, match=message):
        check_subsets(drawn(), path=tmp_path / "subsets.json", **wanted)


def test_a_fraction_of_no_photo_is_refused_and_a_half_is_rounded_up():
    assert num_of(12.5, num_photos=4) == 1 and num_of(1.0, num_photos=149) == 1 and num_of(1.0, num_photos=150) == 2
    with pytest.raises(ConfigError, match="1 % of 40 labelled photos rounds to no photo"):
        drawn(KEYS[:40])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema_version": 1, "samples": "a", "num_photos": 2, "orders": {"x": ["a"]}}']
    + ['{"schema_version": 1, "samples": "a", "num_photos": 2, "orders": {"0": ["a", "a"]}}', '{"schema_version": 1, "orders": []}', "[" * 100_000],
)
def test_another_file_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "subsets.json"
    path.write_text(text)
    with pytest.raises(DataError, match="holds no label subsets"):
        read_subsets(path)
    path.write_text('{"schema_version": 9}')
    with pytest.raises(DataError, match="schema version 9"):
        read_subsets(path)
