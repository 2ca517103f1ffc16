import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate, normalize

from mcdist import ops
from mcdist.evaluate.extract.lengths import pixel_lengths
from mcdist.evaluate.extract.pool import fold_down, grid_weights, weighted_pool

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))


def upsample(features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return interpolate(features, size=size, mode="bilinear", align_corners=False)


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_folding_down_is_the_adjoint_of_upsampling(sizes: tuple[int, int, int, int]) -> None:
    height, width, stride, seed = sizes
    torch.manual_seed(seed)
    features, values = torch.randn(2, 1, height, width), torch.randn(2, height * stride, width * stride)
    left = (upsample(features, (height * stride, width * stride))[:, 0] * values).sum()
    right = (features[:, 0] * fold_down(values, height=height, width=width)).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_lengths_are_those_of_the_upsampled_embeddings(sizes: tuple[int, int, int, int]) -> None:
    height, width, stride, seed = sizes
    torch.manual_seed(seed)
    features = torch.randn(2, 6, height, width)
    expected = upsample(features, (height * stride, width * stride)).norm(dim=1)
    torch.testing.assert_close(pixel_lengths(features, height=height * stride, width=width * stride), expected, rtol=1e-3, atol=1e-4)


def test_a_pixel_that_cancels_to_nothing_keeps_a_length_above_zero() -> None:
    features = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2).repeat(1, 4, 1, 1)
    lengths = pixel_lengths(features, height=3, width=6)
    assert (lengths > 0).all()
    assert torch.isfinite(1 / lengths).all()


def make_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.randn(2, 5, 4, 6), torch.randint(-1, 3, (2, 16, 24), dtype=torch.int16), torch.rand(2, 16, 24)


def test_object_vectors_are_the_weighted_sums_of_a_loop_over_pixels() -> None:
    features, objects, weight = make_case()
    pixels = upsample(features, (16, 24))
    found = weighted_pool(features, grid_weights(objects, weight=weight, max_objects=3, height=4, width=6))
    for photo in range(2):
        for number in (1, 2, 3):
            total = torch.zeros(5)
            for row in range(16):
                for column in range(24):
                    if objects[photo, row, column] == number:
                        total += weight[photo, row, column] * pixels[photo, :, row, column]
            torch.testing.assert_close(found[photo, number - 1], normalize(total, dim=0), rtol=1e-4, atol=1e-5)
    assert not found[:, 2].any()


def test_weights_of_one_over_the_length_give_the_mean_of_unit_pixel_embeddings() -> None:
    features, objects, _ = make_case()
    weight = 1 / pixel_lengths(features, height=16, width=24)
    found = weighted_pool(features, grid_weights(objects, weight=weight, max_objects=2, height=4, width=6))
    unit = normalize(upsample(features, (16, 24)), dim=1)
    for number in (1, 2):
        mean = (unit * (objects == number)[:, None]).sum(dim=(2, 3))
        torch.testing.assert_close(found[:, number - 1], normalize(mean, dim=1), rtol=1e-3, atol=1e-4)


def test_the_mean_embedding_is_what_mask_pool_defines() -> None:
    features, objects, _ = make_case()
    weight = 1 / pixel_lengths(features, height=16, width=24)
    found = weighted_pool(features, grid_weights(objects, weight=weight, max_objects=3, height=4, width=6))
    torch.testing.assert_close(found.flatten(0, 1), ops.mask_pool(features, objects, max_objects=3).prototypes, rtol=1e-3, atol=1e-4)
