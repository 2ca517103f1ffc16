"""Mask pooling against the naive float64 loop: values, gradients, edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.choices import Implementation
from mcdist.ops import mask_pool
from mcdist.ops.cells import CHUNK_BYTES
from mcdist.ops.tolerance import TOLERANCE
from tests.ops.naive_contrast import naive_pool

EACH = pytest.mark.parametrize("implementation", ["reference", "compact", "fused"])


def operands(seed: int, *, B: int = 2, D: int = 5, h: int = 3, w: int = 2, stride: int = 4, max_objects: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    instances = torch.randint(-1, max_objects + 1, (B, h * stride, w * stride), generator=generator, dtype=torch.int16)
    return torch.randn(B, D, h, w, dtype=torch.float64, generator=generator), instances


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "sizes", [{}, {"stride": 8, "h": 1}, {"stride": 16, "B": 1, "w": 1, "h": 1}, {"stride": 3}, {"stride": 1, "h": 5}, {"D": 1}, {"max_objects": 1}], ids=str
)
def test_prototypes_and_counts_are_those_of_the_naive_loop(sizes: dict, dtype: torch.dtype, implementation: Implementation) -> None:
    features, instances = operands(10, **sizes)  # with one dimension an object may cancel to nothing and have no direction: here none does
    max_objects = sizes.get("max_objects", 3)
    prototypes, num_pixels = naive_pool(features.numpy(), instances.numpy(), max_objects)
    pooled = mask_pool(features.to(dtype), instances, max_objects=max_objects, implementation=implementation)
    assert pooled.prototypes.dtype == dtype
    torch.testing.assert_close(pooled.prototypes.double(), torch.from_numpy(prototypes), **TOLERANCE[dtype])
    assert pooled.num_pixels.tolist() == num_pixels.tolist()


@EACH
def test_the_gradient_passes_gradcheck(implementation: Implementation) -> None:
    features, instances = operands(2, D=3, stride=2)

    def prototypes_of(features: torch.Tensor) -> torch.Tensor:
        return mask_pool(features, instances, max_objects=3, implementation=implementation).prototypes

    assert torch.autograd.gradcheck(prototypes_of, (features.requires_grad_(),))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    B=st.integers(1, 3),
    D=st.integers(2, 9),
    h=st.integers(1, 4),
    w=st.integers(1, 4),
    stride=st.sampled_from([1, 2, 4, 8]),
    max_objects=st.integers(1, 4),
)
def test_all_implementations_agree(seed: int, max_objects: int, **sizes: int) -> None:
    features, instances = operands(seed, max_objects=max_objects, **sizes)
    results = [mask_pool(features, instances, max_objects=max_objects, implementation=name) for name in ("reference", "compact", "fused")]
    torch.testing.assert_close(results[0].prototypes, results[1].prototypes, **TOLERANCE[torch.float64])
    assert torch.equal(results[0].num_pixels, results[1].num_pixels)


@EACH
def test_cutting_the_work_into_pieces_changes_nothing(implementation: Implementation, monkeypatch: pytest.MonkeyPatch) -> None:
    features, instances = operands(3, B=3, h=5)
    features.requires_grad_()
    results = []
    for num_bytes in (2**20, 1):
        monkeypatch.setattr("mcdist.ops.upsample.BAND_BYTES", num_bytes)
        monkeypatch.setitem(CHUNK_BYTES, "cpu", num_bytes)
        pooled = mask_pool(features, instances, max_objects=3, implementation=implementation)
        results.append((pooled.prototypes, *torch.autograd.grad(pooled.prototypes[:, 0].sum(), features)))
    for pieces, whole in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, **TOLERANCE[torch.float64])


@EACH
def test_a_single_feature_column_is_cut_like_any_other(implementation: Implementation, monkeypatch: pytest.MonkeyPatch) -> None:
    features, instances = operands(4, B=1, h=4, w=1)
    monkeypatch.setattr("mcdist.ops.upsample.BAND_BYTES", 1)
    prototypes, _ = naive_pool(features.numpy(), instances.numpy(), 3)
    pooled = mask_pool(features, instances, max_objects=3, implementation=implementation)
    torch.testing.assert_close(pooled.prototypes, torch.from_numpy(prototypes), **TOLERANCE[torch.float64])


@EACH
def test_an_object_without_pixels_is_the_zero_vector_and_zero_without_gradient(implementation: Implementation) -> None:
    features, instances = operands(5)
    instances[instances == 2] = 0
    features.requires_grad_()
    pooled = mask_pool(features, instances, max_objects=3, implementation=implementation)
    assert pooled.num_pixels.view(2, 3)[:, 1].tolist() == [0, 0]
    assert not pooled.prototypes.view(2, 3, -1)[:, 1].any()
    (gradient,) = torch.autograd.grad(pooled.prototypes.view(2, 3, -1)[:, 1].sum(), features)
    assert not gradient.any()


@EACH
def test_no_object_at_all_gives_zero_rows(implementation: Implementation) -> None:
    features, instances = operands(6)
    pooled = mask_pool(features, instances.clamp(max=0), max_objects=2, implementation=implementation)
    assert not pooled.prototypes.any()
    assert not pooled.num_pixels.any()


@EACH
def test_instances_beyond_max_objects_are_ignored_and_refused_with_debug(implementation: Implementation) -> None:
    features, instances = operands(7)
    few = mask_pool(features, instances, max_objects=2, implementation=implementation)
    all_of_them = mask_pool(features, instances, max_objects=3, implementation=implementation)
    torch.testing.assert_close(few.prototypes.view(2, 2, -1), all_of_them.prototypes.view(2, 3, -1)[:, :2])
    with pytest.raises(ValueError, match="between -1 and max_objects = 2"):
        mask_pool(features, instances, max_objects=2, debug=True, implementation=implementation)


@EACH
def test_half_precision_is_summed_in_float32_even_under_autocast(implementation: Implementation) -> None:
    features, instances = operands(8)
    features = features.bfloat16()
    exact = mask_pool(features.double(), instances, max_objects=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = mask_pool(features, instances, max_objects=3, implementation=implementation)
    assert pooled.prototypes.dtype == torch.float32
    torch.testing.assert_close(pooled.prototypes.double(), exact.prototypes, **TOLERANCE[torch.float32])


def test_auto_runs_on_every_device(device: torch.device) -> None:
    features, instances = operands(9)
    want = mask_pool(features, instances, max_objects=3, implementation="reference")
    got = mask_pool(features.to(device), instances.to(device), max_objects=3)
    torch.testing.assert_close(got.prototypes.cpu(), want.prototypes, **TOLERANCE[torch.float64])
