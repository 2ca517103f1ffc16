"""The benchmarks of metrics check before they time, and print rows."""

import pytest

from benchmarks.metrics import kmeans, matching
from mcdist.errors import McdistError


@pytest.mark.parametrize(("num_clusters", "noise"), [(21, 0.0), (5, 0.5), (60, 0.1)])
def test_every_way_gives_the_same_number(num_clusters: int, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "HEIGHT", 30)
    monkeypatch.setattr(matching, "WIDTH", 40)
    maps = matching.make_maps(num_photos=2, num_clusters=num_clusters, noise=noise)
    found = [way(maps, num_clusters=num_clusters) for way in (matching.streaming, matching.scikit_learn, matching.pairwise)]
    assert max(found) - min(found) < 1e-12 and found[0] > 0


def test_another_number_is_not_timed() -> None:
    with pytest.raises(McdistError, match="not timed"):
        matching.rows_of({"right": (lambda: 1.0, 1), "wrong": (lambda: 0.9, 1)}, shape="any")
    rows = matching.rows_of({"one": (lambda: 1.0, 1), "other": (lambda: 1.0, 1)}, shape="any")
    assert matching.ratios(rows).startswith("other: ")


def test_kmeans_is_measured_with_its_inertia() -> None:
    vectors = kmeans.make_vectors(200, num_dims=4, num_kinds=5)
    for provider, fit in kmeans.fits(vectors, num_clusters=5, num_starts=3).items():
        rows = kmeans.measured(fit, provider=provider, vectors=vectors, shape="any", num_runs=1)
        assert [row.metric for row in rows] == ["time", "processor time", "inertia a vector"]
        assert 2 < rows[-1].median < 6, "about one a dimension"
