"""K-means in blocks against FAISS's on all vectors at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.groups.clustering.blocks import _numbers, fit_centres_of_blocks
from mcdist.groups.clustering.kmeans import fit_centres, nearest_centres
from mcdist.ranks.join import join_world, leave_world
from tests.makers.many_ranks import on_ranks

pytest.importorskip("faiss")


def blobs(*, num: int = 600, clusters: int = 5, seed: int = 0) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    centres = 10 * random.normal(size=(clusters, 4))
    return (centres[numpy.arange(num) % clusters] + random.normal(size=(num, 4))).astype(numpy.float32)


def in_blocks(vectors: numpy.ndarray, size: int) -> list[numpy.ndarray]:
    return [vectors[start : start + size] for start in range(0, len(vectors), size)]


def fitted(vectors: numpy.ndarray, *, size: int, clusters: int, seed: int = 0, starts: int = 10):
    def blocks() -> Iterator[numpy.ndarray]:
        yield from in_blocks(vectors, size)

    return fit_centres_of_blocks(blocks, num_clusters=clusters, seed=seed, num_starts=starts, num_iterations=50)


def test_the_objective_is_as_low_as_that_of_faiss() -> None:
    vectors = blobs()
    found, expected = fitted(vectors, size=100, clusters=5, seed=1), fit_centres(vectors, num_clusters=5, seed=1, num_starts=10, num_iterations=50)
    assert found.objective <= expected.objective * 1.0001
    distance, _ = nearest_centres(vectors, centres=found.centres, num=1)
    assert abs(float(distance.sum()) - found.objective) < 1e-3 * found.objective


@pytest.mark.parametrize("size", [7, 64, 1000])
def test_the_size_of_blocks_changes_rounding_only(size: int) -> None:
    vectors = blobs(seed=3)
    one, other = fitted(vectors, size=size, clusters=12), fitted(vectors, size=300, clusters=12)
    assert numpy.allclose(one.centres, other.centres, atol=1e-4)


def test_a_fixed_point_is_reached() -> None:
    vectors = blobs(seed=5)
    found = fitted(vectors, size=100, clusters=8)
    _, cluster = nearest_centres(vectors, centres=found.centres, num=1)
    means = numpy.stack([vectors[cluster[:, 0] == number].mean(axis=0) for number in range(8)])
    assert numpy.allclose(means, found.centres, atol=1e-3)


def test_more_clusters_than_different_vectors_leave_finite_centres() -> None:
    vectors = numpy.repeat(blobs(num=4, clusters=2), 10, axis=0)
    found = fitted(vectors, size=9, clusters=6)
    assert numpy.isfinite(found.centres).all() and found.objective < 1e-2


def test_fewer_vectors_than_clusters_say_so() -> None:
    with pytest.raises(DataError, match="9 clusters need at least as many vectors, got 4"):
        fitted(blobs(num=4), size=3, clusters=9)


def test_rows_are_drawn_by_their_number_without_replacement_and_evenly() -> None:
    whole = _numbers(0, num=10_000, seed=3, start=1)
    assert len(set(whole.tolist())) == 10_000 and whole.min() >= 0
    assert (whole[4_000:] == _numbers(4_000, num=6_000, seed=3, start=1)).all()
    assert (whole != _numbers(0, num=10_000, seed=3, start=2)).all() and (whole != _numbers(0, num=10_000, seed=4, start=1)).all()
    lowest = numpy.argsort(whole)[:1_000]
    assert numpy.abs(numpy.histogram(lowest, bins=10, range=(0, 10_000))[0] - 100).max() < 40  # four standard deviations


def test_spherical_centres_are_unit_mean_directions() -> None:
    vectors = blobs(seed=7)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    found = fit_centres_of_blocks(lambda: iter(in_blocks(vectors, 50)), num_clusters=6, seed=0, num_starts=5, num_iterations=50, spherical=True)
    assert numpy.allclose(numpy.linalg.norm(found.centres, axis=1), 1, atol=1e-6)
    cluster = (vectors @ found.centres.T).argmax(axis=1)
    means = numpy.stack([vectors[cluster == number].sum(axis=0) for number in range(6)])
    assert numpy.allclose(means / numpy.linalg.norm(means, axis=1, keepdims=True), found.centres, atol=1e-3)


def test_large_values_do_not_overflow_and_a_value_that_is_not_finite_is_refused() -> None:
    vectors = blobs(seed=2)
    small, large = (fitted(factor * vectors, size=100, clusters=5) for factor in (1.0, 2.0**40))
    assert numpy.allclose(large.centres / 2.0**40, small.centres, rtol=1e-5)
    assert large.objective == pytest.approx(2.0**80 * small.objective, rel=1e-5)
    vectors[37, 2] = numpy.nan
    with pytest.raises(DataError, match="a vector to be clustered is not finite"):
        fitted(vectors, size=100, clusters=5)


def fit_on_rank(rank: int, num_ranks: int, folder: Path) -> None:
    """Rank r has the blocks from r / num_ranks on; one rank of five has none at all."""
    world = join_world(device="cpu", timeout_s=60, collective_timeout_s=60, network_interface="")
    try:
        own = numpy.array_split(numpy.arange(4), num_ranks)[rank]
        blocks = [in_blocks(blobs(num=400, seed=11), 100)[place] for place in own]
        found = fit_centres_of_blocks(lambda: iter(blocks), num_clusters=7, seed=1, num_starts=3, num_iterations=30, world=world)
        numpy.save(folder / f"{num_ranks}_{rank}.npy", numpy.concatenate([found.centres.ravel(), [found.objective]]))
    finally:
        leave_world()


@pytest.mark.slow
def test_any_number_of_ranks_finds_the_same_centres_bit_for_bit(tmp_path: Path) -> None:
    vectors = blobs(num=400, seed=11)
    one = fit_centres_of_blocks(lambda: iter(in_blocks(vectors, 100)), num_clusters=7, seed=1, num_starts=3, num_iterations=30)
    wanted = numpy.concatenate([one.centres.ravel(), [one.objective]])
    for num_ranks in (2, 5):
        on_ranks(num_ranks, fit_on_rank, num_ranks, tmp_path, notes=tmp_path)
        for rank in range(num_ranks):
            assert (numpy.load(tmp_path / f"{num_ranks}_{rank}.npy") == wanted).all()
