"""The fused mask pooling on a CPU. The operands are checked already; native.cpp does the work. Extra memory: one copy of the features."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.ops import native


def pool_native(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], *, max_objects: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """(sum of unit pixel embeddings, number of pixels) of every object."""
    B, D, h, w = features_BDhw.shape
    dtype = features_BDhw.dtype
    instances_BHW = native.map_for_library(instances_BHW)
    sums_PD, num_pixels_P = torch.empty(B * max_objects, D, dtype=dtype), torch.empty(B * max_objects, dtype=torch.int64)
    sizes = native.int64s(B, D, h, w, stride, native.whole_lanes(D, dtype=dtype), max_objects)
    native.call(f"mask_pool_{native.suffix(dtype, instances_BHW)}", native.in_lanes(features_BDhw), instances_BHW, sums_PD, num_pixels_P, sizes)
    return sums_PD, num_pixels_P


def pool_native_backward(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], dsums_PD: Float[Tensor, "P D"], *, max_objects: int, stride: int
) -> Float[Tensor, "B D h w"]:
    """The gradient of the features, given that of the sums."""
    B, D, h, w = features_BDhw.shape
    dtype = features_BDhw.dtype
    instances_BHW = native.map_for_library(instances_BHW)
    dfeatures_BhwD = torch.empty(B, h, w, D, dtype=dtype)
    sizes = native.int64s(B, D, h, w, stride, native.whole_lanes(D, dtype=dtype), max_objects)
    native.call(
        f"mask_pool_backward_{native.suffix(dtype, instances_BHW)}",
        native.in_lanes(features_BDhw),
        instances_BHW,
        dsums_PD.to(dtype).contiguous(),
        dfeatures_BhwD,
        sizes,
    )
    return dfeatures_BhwD.permute(0, 3, 1, 2)
