import numpy

from mcdist.groups.clustering.agreement import adjusted_rand


def test_the_rand_index_is_1_for_the_same_and_0_by_chance() -> None:
    one = numpy.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(one, other=(one + 1) % 3) == 1
    random = numpy.random.default_rng(0)
    many = [adjusted_rand(random.integers(0, 4, 400), other=random.integers(0, 4, 400)) for _ in range(20)]
    assert abs(numpy.mean(many)) < 0.02
