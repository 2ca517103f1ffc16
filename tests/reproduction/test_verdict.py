"""Each verdict, at its bounds."""

import pytest

from mcdist.reproduction.rows import Row
from mcdist.reproduction.verdict import judge_row

PAPER = Row(name="row", line="a line", training="t", kind="kmeans", protocol="p", origin="there", paper=35.0)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([35.0], "agrees"),
        ([33.0], "agrees"),
        ([32.9], "differs"),
        ([37.1], "differs"),
        ([34.9, 35.1], "agrees"),
        ([30.0, 30.2], "differs"),
        ([32.0, 36.0], "cannot be judged"),  # 1.0 from the paper, known to 4.0
        ([31.0, 33.0], "cannot be judged"),  # 3.0 from the paper, known to 2.0
        ([31.0, 33.0] * 8, "differs"),  # 3.0, known to 0.5: more seeds decide it
        ([], "cannot be judged"),
        ([float("nan")], "cannot be judged"),
    ],
)
def test_the_word_follows_from_distance_doubt_and_tolerance(values: list[float], word: str) -> None:
    found = judge_row(PAPER, values=values, tolerance=2.0)
    assert found.word == word


def test_reasons_are_in_order_reduced_then_silent_then_unknown() -> None:
    from dataclasses import replace

    silent, unknown = replace(PAPER, unjudged="nobody knows"), replace(PAPER, paper=None)
    assert judge_row(silent, values=[35.0], tolerance=2.0, reduced=("small",)).reason == "this is a reduced run: small"
    assert judge_row(silent, values=[35.0], tolerance=2.0).reason == "nobody knows"
    assert judge_row(unknown, values=[35.0], tolerance=2.0).reason == "the paper's number is not in the table (there)"


def test_our_number_has_a_spread_only_of_several_trainings() -> None:
    assert judge_row(PAPER, values=[35.0], tolerance=2.0).ours == "35.0 over 1 training"
    assert judge_row(PAPER, values=[34.0, 36.0], tolerance=2.0).ours == "35.0 ± 1.4 over 2 trainings"
    assert judge_row(PAPER, values=[], tolerance=2.0).ours == "none"
