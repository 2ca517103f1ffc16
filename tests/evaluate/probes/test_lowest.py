"""A sample of bounded size from photos."""

import numpy

from mcdist.evaluate.probes.lowest import Lowest


def sampled(photos: list[int], *, size: int, seed: int = 0) -> Lowest:
    sample = Lowest(size, seed=seed)
    for photo in photos:
        sample.add_photo(numpy.arange(10)[:, None] + 10 * photo, photo=photo)
    return sample


def test_the_sample_does_not_depend_on_the_order_of_the_photos() -> None:
    one, other = sampled(list(range(40)), size=25), sampled(list(range(40))[::-1], size=25)
    assert one.rows is not None and other.rows is not None
    assert numpy.array_equal(one.rows, other.rows) and len(one.rows) == 25 and one.num_seen == 400
    assert len(numpy.unique(one.rows)) == 25


def test_fewer_rows_than_places_are_all_kept_and_seeds_differ() -> None:
    rows = sampled([3], size=99).rows
    assert rows is not None and sorted(rows[:, 0].tolist()) == list(range(30, 40))
    one, other = (sampled(list(range(9)), size=20, seed=seed).rows for seed in (0, 1))
    assert one is not None and other is not None and not numpy.array_equal(one, other)


def test_every_row_is_equally_likely() -> None:
    hits = numpy.zeros(100)
    for seed in range(400):
        rows = sampled(list(range(10)), size=20, seed=seed).rows
        assert rows is not None
        hits[rows[:, 0]] += 1
    assert hits.sum() == 8000 and abs(hits - 80).max() < 5 * (80 * 0.8) ** 0.5
