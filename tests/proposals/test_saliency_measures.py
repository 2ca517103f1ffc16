"""Measures of soft maps, against the formulas of their papers written down naively, and by hand where the answer is known."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mcdist.proposals.quality.saliency import SaliencyScores, s_measure

EPS = 1e-16

sizes = st.tuples(st.shared(st.integers(2, 12), key="h"), st.shared(st.integers(2, 12), key="w"))
soft_maps = arrays(numpy.uint8, sizes)
masks = arrays(bool, sizes)


def scores_of(*photos: tuple[numpy.ndarray, numpy.ndarray], stretched: bool = False) -> dict[str, float]:
    scores = SaliencyScores(stretched=stretched)
    for soft, wanted in photos:
        scores.add(soft, wanted=wanted, counted=numpy.ones_like(wanted))
    return scores.values()


def naive_f_curve(soft: numpy.ndarray, wanted: numpy.ndarray, *, beta_squared: float) -> numpy.ndarray:
    curve = []
    for cut in range(256):
        found = soft >= cut
        hits = (found & wanted).sum()
        precision, recall = hits / max(found.sum(), 1), hits / max(wanted.sum(), 1)
        curve.append((1 + beta_squared) * precision * recall / (beta_squared * precision + recall) if hits else 0.0)
    return numpy.array(curve)


def naive_e(found: numpy.ndarray, wanted: numpy.ndarray) -> float:
    """Fan et al., IJCAI 2018, equations 3 to 5."""
    if not wanted.any():
        return float((~found).mean())
    if wanted.all():
        return float(found.mean())
    one, other = found - found.mean(), wanted - wanted.mean()
    aligned = 2 * one * other / (one**2 + other**2 + EPS)
    return float(((1 + aligned) ** 2 / 4).mean())


def naive_s(soft: numpy.ndarray, wanted: numpy.ndarray) -> float:
    """Fan et al., ICCV 2017: 0.5 S_object + 0.5 S_region."""
    share = wanted.mean()
    if share == 0:
        return 1 - soft.mean()
    if share == 1:
        return soft.mean()

    def even(values):
        deviation = numpy.std(values, ddof=1) if len(values) > 1 else 0.0
        return 2 * values.mean() / (values.mean() ** 2 + 1 + deviation)

    of_object = share * even(soft[wanted]) + (1 - share) * even(1 - soft[~wanted])
    height, width = wanted.shape
    row, column = (int(numpy.floor(places.mean() + 0.5)) + 1 for places in numpy.nonzero(wanted))
    of_region = 0.0
    for rows in (range(row), range(row, height)):
        for columns in (range(column), range(column, width)):
            if len(rows) and len(columns):
                block = numpy.ix_(rows, columns)
                of_region += len(rows) * len(columns) / wanted.size * naive_ssim(soft[block].ravel(), wanted[block].ravel().astype(float))
    return max(0.0, 0.5 * of_object + 0.5 * of_region)


def naive_ssim(x: numpy.ndarray, y: numpy.ndarray) -> float:
    others = max(len(x) - 1, 1)
    x_spread, y_spread = ((x - x.mean()) ** 2).sum() / others, ((y - y.mean()) ** 2).sum() / others
    above = 4 * x.mean() * y.mean() * ((x - x.mean()) * (y - y.mean())).sum() / others
    below = (x.mean() ** 2 + y.mean() ** 2) * (x_spread + y_spread)
    return above / below if above else float(below == 0)


@settings(max_examples=20)
@given(first=soft_maps, second=soft_maps, mask=masks, other=masks)
def test_all_measures_are_those_of_the_formulas_written_down(first, second, mask, other):
    photos = [(first, mask), (second, other)]
    found = scores_of(*photos)
    curves = [naive_f_curve(soft, wanted, beta_squared=0.3) for soft, wanted in photos]
    pooled = naive_f_curve(numpy.concatenate([first, second]), numpy.concatenate([mask, other]), beta_squared=0.3)
    e_curve = numpy.mean([[naive_e(soft >= cut, wanted) for cut in range(256)] for soft, wanted in photos], axis=0)
    adaptive = [naive_e(soft >= min(255, 2 * soft.mean()), wanted) for soft, wanted in photos]
    expected = {
        "max_f": pooled.max(),
        "max_f_mean_curve": numpy.mean(curves, axis=0).max(),
        "max_f_photo_maxima": numpy.mean([naive_f_curve(soft, wanted, beta_squared=0.09).max() for soft, wanted in photos]),
        "s_measure": numpy.mean([naive_s(soft / 255, wanted) for soft, wanted in photos]),
        "e_adaptive": numpy.mean(adaptive),
        "e_mean": e_curve.mean(),
        "e_max": e_curve.max(),
        "mean_absolute_error": numpy.mean([numpy.abs(soft / 255 - wanted).mean() for soft, wanted in photos]),
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_three_max_f_differ_where_photos_have_different_cuts():
    """One map is right above 200, the other above 100: no cut is right for both, but each has one of its own."""
    wanted = numpy.zeros((10, 10), dtype=bool)
    wanted[:5] = True
    bright, dark = numpy.where(wanted, 250, 150).astype(numpy.uint8), numpy.where(wanted, 120, 20).astype(numpy.uint8)
    values = scores_of((bright, wanted), (dark, wanted))
    assert values["max_f_photo_maxima"] == 1
    one_cut = (1 + 1.3 * 0.5 / (0.3 * 0.5 + 1)) / 2  # at 120: right in one, everything found in the other
    assert values["max_f_mean_curve"] == pytest.approx(one_cut)
    assert values["max_f"] == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))  # at 250: half of all, and nothing else


def test_stretching_changes_dim_maps():
    wanted = numpy.zeros((4, 4), dtype=bool)
    wanted[:2] = True
    dim = numpy.where(wanted, 60, 10).astype(numpy.uint8)
    assert scores_of((dim, wanted))["mean_absolute_error"] == pytest.approx((195 + 10) / 255 / 2)
    assert scores_of((dim, wanted), stretched=True)["mean_absolute_error"] == 0
    assert scores_of((0 * dim + 7, wanted), stretched=True)["mean_absolute_error"] == pytest.approx((248 + 7) / 255 / 2)


@pytest.mark.parametrize("filled", [False, True])
def test_an_empty_and_a_full_mask_have_their_rules(filled):
    wanted = numpy.full((6, 6), filled)
    right = numpy.full((6, 6), 255 * filled, dtype=numpy.uint8)
    values = scores_of((right, wanted))
    assert values["s_measure"] == values["e_adaptive" if filled else "e_max"] == 1
    assert values["mean_absolute_error"] == 0


def test_void_counts_nowhere():
    soft = numpy.zeros((8, 8), dtype=numpy.uint8)
    soft[:4] = 255
    wanted, counted = soft > 0, numpy.ones((8, 8), dtype=bool)
    soft[3, :], counted[3, :] = 90, False
    scores = SaliencyScores()
    scores.add(soft, wanted=wanted, counted=counted)
    scores.add(soft, wanted=wanted, counted=numpy.zeros_like(counted))
    values = scores.values()
    assert scores.num_photos == 1
    assert values["mean_absolute_error"] == 0
    assert [values[name] for name in ("max_f", "max_f_mean_curve", "s_measure")] == pytest.approx([1, 1, 1])


def test_a_right_map_has_structure_and_its_negative_has_none():
    wanted = numpy.zeros((20, 20), dtype=bool)
    wanted[5:15, 3:12] = True
    counted = numpy.ones_like(wanted)
    assert s_measure(wanted.astype(float), wanted=wanted, counted=counted) == pytest.approx(1)
    assert s_measure(1.0 - wanted, wanted=wanted, counted=counted) == 0


def test_without_a_photo_there_is_no_measure():
    assert SaliencyScores().values() == {}
