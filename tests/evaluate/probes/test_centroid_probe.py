"""Clusters by gradient descent."""

import numpy
import torch
from torch.nn.functional import interpolate, normalize

from mcdist.evaluate.probes.centroid_probe import CentroidProbe, Centroids, centroid_loss
from mcdist.evaluate.probes.upsampled import pixel_classes


def test_the_loss_is_minus_the_mean_cosine_with_the_nearest_centroid() -> None:
    vectors, centroids = torch.randn(20, 3), torch.randn(4, 3)
    expected = -sum(max(float(torch.cosine_similarity(v, c, dim=0)) for c in centroids) for v in vectors) / 20
    assert abs(float(centroid_loss(vectors, centroids=centroids)) - expected) < 1e-6


def test_it_finds_directions_that_are_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.eye(3)
    of = torch.arange(300) % 3
    vectors = (directions[of] + 0.05 * torch.randn(300, 3, generator=generator)) * torch.rand(300, 1, generator=generator).add(0.5)
    probe = CentroidProbe(num_dims=3, num_clusters=3, lr=0.05, seed=2)
    losses = [probe.step(vectors) for _ in range(200)]
    assert losses[-1] < losses[0]
    found = probe.centroids.logits(vectors).argmax(dim=1)
    assert len({(int(a), int(b)) for a, b in zip(found, of, strict=True)}) == 3


def test_the_nearest_centroid_of_an_upsampled_map_comes_from_upsampled_logits() -> None:
    features, centroids = torch.randn(5, 4, 8), Centroids(normalize(torch.randn(6, 8), dim=1))
    pixels = interpolate(features.permute(2, 0, 1)[None], size=(20, 16), mode="bilinear")[0].permute(1, 2, 0)
    expected = (normalize(pixels, dim=2) @ centroids.unit.T).argmax(dim=2)
    logits = centroids.logits(features.reshape(-1, 8)).view(5, 4, 6)
    assert (pixel_classes(logits.numpy(), size_px=(20, 16)) == expected.numpy()).mean() > 0.999
    assert numpy.isfinite(logits.numpy()).all()
