import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mcdist.model.backbones.dilation import InterleavedConv2d, merge_grids, split_grids


@given(kernel=st.sampled_from([3, 5]), dilation=st.sampled_from([1, 2, 4]), height=st.integers(1, 4), width=st.integers(1, 4), channels_last=st.booleans())
def test_interleaved_convolution_equals_the_dilated_one_with_its_gradients(kernel: int, dilation: int, height: int, width: int, channels_last: bool) -> None:
    torch.manual_seed(0)
    convolution = InterleavedConv2d(6, 6, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation, groups=6, dtype=torch.float64)
    image = torch.randn(2, 6, 4 * height, 4 * width, dtype=torch.float64)
    image = image.contiguous(memory_format=torch.channels_last) if channels_last else image
    ours, theirs = image.clone().requires_grad_(), image.clone().requires_grad_()
    got, want = convolution(ours), nn.Conv2d.forward(convolution, theirs)
    torch.testing.assert_close(got, want)
    weight = torch.randn_like(want)
    (got * weight).sum().backward()
    assert convolution.weight.grad is not None
    ours_weight = convolution.weight.grad.clone()
    convolution.weight.grad = None
    (want * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(ours_weight, convolution.weight.grad)


def test_a_grid_that_the_dilation_does_not_divide_is_convolved_all_the_same() -> None:
    convolution = InterleavedConv2d(3, 3, 3, padding=4, dilation=4, groups=3)
    image = torch.randn(1, 3, 7, 10)
    torch.testing.assert_close(convolution(image), nn.Conv2d.forward(convolution, image))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_merging_undoes_splitting(step: int) -> None:
    image = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(merge_grids(split_grids(image, step=step), step=step), image, rtol=0, atol=0)
