"""The table over training seeds: means over runs, differences paired run by run, and what is clear."""

import numpy
import pytest

from benchmarks.study.table import lines_of, markdown
from mcdist.errors import DataError
from mcdist.records import Evaluation, Row, Subject
from mcdist.records.names import INITIAL_BACKBONE, RANDOM_LABELS, TRAINED


def evaluation(trained: float, start: float, *, protocol: str = "p") -> Evaluation:
    rows = tuple(
        Row(protocol=protocol, subject=Subject(encoder, "proposals"), metric="mIoU", unit="%", values=(value - 1, value + 1), details={"num_clusters": 6})
        for encoder, value in ((TRAINED, trained), (INITIAL_BACKBONE, start), (RANDOM_LABELS, 10.0))
    )
    return Evaluation(
        step=1,
        dataset="d",
        has_truth=True,
        classes=("background", "a"),
        num_photos=3,
        num_photos_in_dataset=3,
        mask_iou_percent={},
        rows=rows,
        headline=0,
        protocols={},
        settings={},
        wall_s=0.0,
    )


def test_differences_are_paired_by_run_and_spreads_are_over_runs() -> None:
    trained, start = lines_of([evaluation(45.0, 40.0), evaluation(47.0, 41.0), evaluation(49.0, 42.0)])
    assert trained.key == ("proposals", "p", 6, TRAINED)
    assert trained.values == (45, 47, 49)
    assert trained.difference == (5, 6, 7)
    assert trained.is_clear and not start.difference and not start.is_clear
    text = markdown([trained, start], num_runs=3)
    assert f"| proposals | p | 6 | {numpy.mean(trained.values):.1f} ± {numpy.std(trained.values):.1f} |  | 41.0 ± 0.8 | +6.0 ± 0.8 clear |" in text


def test_a_gain_within_the_spread_of_runs_is_unclear() -> None:
    trained, _ = lines_of([evaluation(40.0, 38.0), evaluation(50.0, 48.0)])
    assert not trained.is_clear
    assert "+2.0 ± 0.0 unclear" in markdown([trained], num_runs=2)


def test_evaluations_without_a_common_row_are_one_sentence() -> None:
    with pytest.raises(DataError, match="no row in common"):
        lines_of([evaluation(1.0, 1.0), evaluation(1.0, 1.0, protocol="q")])
