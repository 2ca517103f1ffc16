"""Records: an evaluation survives its file, and what is none is refused."""

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.errors import DataError
from mcdist.records import Difference, Evaluation, Record, Row, Subject, difference

ROW = Row(
    protocol="maskcontrast-kmeans",
    subject=Subject(encoder="trained", masks="predicted"),
    metric="mIoU",
    unit="%",
    values=(40.0, 42.0),
    details={"class_iou_percent": [80.0, 2.0], "num_objects": 7, "confusion": [[5, 1], [0, 3]]},
)


def evaluation(**changes: object) -> Evaluation:
    values: dict = {
        "step": 10,
        "dataset": "demo",
        "classes": ("background", "cat"),
        "num_photos": 4,
        "num_photos_in_dataset": 9,
        "mask_iou_percent": {"predicted": 50.5, "proposals": 60.0},
        "has_truth": True,
        "rows": (ROW,),
        "headline": 0,
        "protocols": {"maskcontrast-kmeans": {"pca_dim": 32}},
        "settings": {"size_px": 128, "objects": "components"},
        "wall_s": 1.5,
    }
    return Evaluation(**(values | changes))


def test_mean_and_deviation_are_over_the_clustering_seeds():
    assert ROW.mean == 41.0
    assert ROW.std == 1.0


def test_a_single_seed_deviates_by_nothing_and_none_is_zero():
    assert dataclasses.replace(ROW, values=(33.0,)).std == 0.0
    assert (dataclasses.replace(ROW, values=()).mean, dataclasses.replace(ROW, values=()).std) == (0.0, 0.0)


def test_an_evaluation_survives_its_json():
    assert Evaluation.from_json(evaluation().to_json(), where="here") == evaluation()
    assert Evaluation.from_json(evaluation(rows=()).to_json(), where="here") == evaluation(rows=())


def square_counts(size: int) -> st.SearchStrategy[list[list[int]]]:
    row = st.lists(st.integers(0, 2**50), min_size=size, max_size=size)
    return st.lists(row, min_size=size, max_size=size)


@settings(max_examples=30)
@given(miou=st.lists(st.floats(0, 100), min_size=1, max_size=5).map(tuple), counts=st.integers(1, 4).flatmap(square_counts), name=st.text())
def test_any_rows_survive_their_json_to_the_last_bit(miou, counts, name):
    before = evaluation(dataset=name, rows=(dataclasses.replace(ROW, values=miou, details={"confusion": counts}),))
    assert Evaluation.from_json(before.to_json(), where="here") == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"schema_version": 2, "rows": []}', '{"schema_version": 2, "rows": [{"values": 3}], "classes": []}']
)
def test_what_is_no_evaluation_is_refused_with_its_place_and_what_to_run(text):
    with pytest.raises(DataError, match=r"runs/a/evaluation.json is not an evaluation that this mcdist wrote .* run: mcdist evaluate RUN"):
        Evaluation.from_json(text, where="runs/a/evaluation.json")


def test_an_evaluation_of_an_earlier_mcdist_says_how_to_write_it_again():
    with pytest.raises(DataError, match=r"^runs/a/evaluation.json has schema version 1, this mcdist reads 2 and 3; write it again with: mcdist evaluate RUN$"):
        Evaluation.from_json('{"step": 10, "dataset": "demo", "scores": [], "headline": 0}', where="runs/a/evaluation.json")


def test_an_evaluation_without_draws_is_read_as_it_was_written():
    content = json.loads(evaluation().to_json())
    del content["photos"]
    for row in content["rows"]:
        del row["draws"], row["interval"]
    assert Evaluation.from_json(json.dumps({**content, "schema_version": 2}), where="here") == evaluation()


def test_draws_survive_their_json_and_span_an_interval():
    row = dataclasses.replace(ROW, draws=(*(float(value) for value in range(1000)), math.nan))
    found = Evaluation.from_json(evaluation(rows=(row,)).to_json(), where="here").rows[0]
    assert found.draws[:1000] == row.draws[:1000] and math.isnan(found.draws[1000])
    assert found.interval == pytest.approx((24.975, 974.025))
    assert ROW.interval is None


def test_damaged_draws_are_refused():
    text = evaluation(rows=(dataclasses.replace(ROW, draws=(1.0,)),)).to_json()
    with pytest.raises(DataError, match="is not an evaluation"):
        Evaluation.from_json(text.replace('"draws": "AACAPw=="', '"draws": "AACA"'), where="here")


@pytest.mark.parametrize(
    ("draws", "baseline", "word"),
    [((45.0, 46.0), (30.0, 31.0), "clear"), ((45.0, 30.0), (40.0, 31.0), "unclear"), ((45.0,), (30.0, 31.0), "clear"), ((), (), "clear")],
)
def test_a_difference_is_clear_over_photos_too(draws, baseline, word):
    row, start = dataclasses.replace(ROW, values=(40.0, 42.0), draws=draws), dataclasses.replace(ROW, values=(30.0, 30.0), draws=baseline)
    assert difference(row, baseline=start).word == word
    assert difference(row, baseline=start, same_photos=False).interval is None


def test_a_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Record(step=1, name="loss", value=2.0).value = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "baseline", "found", "word"),
    [
        ((40.0, 42.0), (30.0, 30.0), Difference(11.0, 1.0), "clear"),
        ((40.0, 42.0), (42.0, 40.0), Difference(0.0, 2.0), "unclear"),
        ((30.0, 44.0), (42.0, 50.0), Difference(-9.0, 3.0), "clear"),
        ((41.0,), (30.0,), Difference(11.0, None), ""),
        ((41.0,), (30.0, 32.0), Difference(10.0, None), ""),
        ((30.0, 30.0), (30.0, 30.0), Difference(0.0, 0.0), "equal"),
    ],
)
def test_a_difference_is_paired_by_seed_and_clear_beyond_two_deviations(values, baseline, found, word):
    row = dataclasses.replace(ROW, values=values)
    assert difference(row, baseline=dataclasses.replace(ROW, values=baseline)) == found
    assert found.word == word
