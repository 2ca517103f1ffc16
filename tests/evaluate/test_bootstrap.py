"""Bootstrap: exact totals, the same resamplings for every row, intervals that hold what they promise."""

from pathlib import Path

import numpy
import pytest

from mcdist.evaluate.metrics import bootstrap
from mcdist.evaluate.metrics.bootstrap import draws_of_mean, draws_of_miou, resampled_totals
from mcdist.evaluate.metrics.confusion import class_counts
from mcdist.records import difference
from mcdist.records.draws import interval_of
from tests.evaluate.colour_world import encoder_pair, judge_store, make_sample, make_store, GroupEncoder

CLASSES = {"background": [0], "red": [1], "green": [2], "blue": [3]}


def some_counts(num_photos: int = 30, *, num_classes: int = 4, seed: int = 0) -> numpy.ndarray:
    return class_counts(numpy.random.default_rng(seed).integers(0, 50, (num_photos, num_classes, num_classes)))


def naive_draws(counts: numpy.ndarray, *, num_draws: int) -> list[float]:
    """Resampling by resampling, class by class."""
    generator, found = numpy.random.default_rng(0), []
    for _ in range(num_draws):
        total = sum(counts[photo] for photo in generator.integers(len(counts), size=len(counts)))
        iou = [right / (predicted + true - right) for right, predicted, true in total.tolist() if true]
        found.append(100 * sum(iou) / len(iou))
    return found


def test_draws_are_those_of_a_loop_over_resamplings() -> None:
    counts = some_counts()
    counts[:25, 2] = 0  # a class that few photos show
    assert numpy.allclose(draws_of_miou([counts], num_draws=50), naive_draws(counts, num_draws=50), rtol=1e-6)


def test_neither_the_size_of_pieces_nor_of_counts_changes_a_total(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = some_counts()
    whole = resampled_totals(counts, num_draws=40)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 7 * 30)
    monkeypatch.setattr(bootstrap, "_PHOTOS_AT_ONCE", 4)
    assert (resampled_totals(counts, num_draws=40) == whole).all()
    far = 2**50
    assert (resampled_totals(counts * far, num_draws=40) == whole * far).all(), "past what float64 counts exactly"


def test_repetitions_are_averaged_within_a_resampling() -> None:
    first, second = some_counts(seed=1), some_counts(seed=2)
    both = draws_of_miou([first, second])
    assert numpy.allclose(both, (numpy.array(draws_of_miou([first])) + draws_of_miou([second])) / 2, rtol=1e-5)


def test_no_photos_no_draws_and_a_class_nobody_shows_follows_its_rule() -> None:
    assert draws_of_miou([]) == draws_of_miou([numpy.zeros((0, 3, 3), dtype=int)]) == draws_of_mean(numpy.zeros(0)) == ()
    assert interval_of(draws_of_miou([numpy.zeros((5, 3, 3), dtype=int)])) is None
    perfect = class_counts(numpy.array([numpy.diag([4, 3, 0])] * 5))
    assert set(draws_of_miou([perfect])) == {100.0}
    assert numpy.allclose(draws_of_miou([perfect], absent="zero"), 200 / 3)


def test_a_mean_leaves_out_photos_without_a_value() -> None:
    values = numpy.array([1.0, numpy.nan, 3.0, 5.0])
    draws = numpy.array(draws_of_mean(values, num_draws=400))
    known = draws[~numpy.isnan(draws)]  # a resampling may show the unknown photo alone
    assert 380 < len(known) <= 400 and 1 <= known.min() and known.max() <= 5
    assert known.mean() == pytest.approx(3, abs=0.2)
    assert all(numpy.isnan(draws_of_mean(numpy.full(3, numpy.nan), num_draws=5)))


def test_an_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = numpy.random.default_rng(3).normal(50, 10, 400)
    low, high = interval_of(draws_of_mean(values)) or (0, 0)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.15) and high == pytest.approx(values.mean() + half, abs=0.15)


def test_every_row_of_the_usual_protocols_has_an_interval_around_its_mean(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=[make_sample(index) for index in range(12)], encoders=encoder_pair(trained=GroupEncoder()))
    judged, _ = judge_store(store, classes=CLASSES, protocols=["maskcontrast-kmeans", "object-graph", "group-segments"])
    for row in judged.evaluation.rows:
        low, high = row.interval or (1, 0)
        assert low - 1e-4 <= row.mean <= high + 1e-4
        assert len(row.draws) == bootstrap.NUM_DRAWS
    trained = judged.evaluation.rows[judged.evaluation.headline]
    start = next(row for row in judged.evaluation.rows if row.subject.encoder == "initial backbone" and row.subject.masks == trained.subject.masks)
    found = difference(trained, baseline=start)
    assert found.interval is not None and found.interval[0] <= found.mean <= found.interval[1]
