"""The public mask pooling: its meaning, its checks, and the choice of the implementation that computes it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.choices import Implementation
from mcdist.ops.dispatch import choose_implementation
from mcdist.ops.mask_pool.library import mask_pool_op
from mcdist.ops.mask_pool.reference import pool_dense
from mcdist.ops.require import require_device, require_stride
from mcdist.ops.upsample import unit
from mcdist.types import Pooled


def mask_pool(
    features_BDhw: Float[Tensor, "B D h w"],
    instances_BHW: Int[Tensor, "B H W"],
    *,
    max_objects: int,
    debug: bool = False,
    implementation: Implementation = "auto",
) -> Pooled:
    """Average each object's unit pixel embeddings, and scale the average to unit length.

    prototype_o = normalize(sum_{p in o} u_p / |u_p|), u = features upsampled bilinearly (align_corners=False) to H x W. The area
    cancels in the last step. MaskContrast, Van Gansbeke et al., ICCV 2021 (arXiv:2102.06191), section 3.

    Args:
        features_BDhw: any length along D, any float dtype; summed in float32, or float64 if they are. H = s h, W = s w, one integer s.
        instances_BHW: 0 background, i >= 1 object i of this image, -1 void.
        max_objects: rows for each image, at least 1. Objects beyond it are ignored; with `debug` they raise.
        debug: also read the values of the instance map and refuse wrong ones, which waits for the device.
        implementation: "auto", "reference", "compact" or "fused"; all compute the same (see `ops/dispatch.py`).

    Returns:
        Pooled(prototypes [B * max_objects, D] in the summing dtype, num_pixels [B * max_objects]); row b * max_objects + i - 1 is
        object i of image b. An object without pixels is the zero vector and 0, never NaN.

    Raises:
        ValueError: layout, dtype, sizes or devices do not fit; with `debug` also instances outside -1 .. max_objects.
        ConfigError: the implementation is unknown or cannot run on this device.

    Gradient flows to the features only. Extra memory: O(B D h w) and, but for "fused" on a CPU, 4 bytes a pixel of the map; the reference
    makes bands of at most 64 MiB.
    """
    stride = require_stride(features_BDhw, instances_BHW)
    require_device(features_BDhw.device, instances=instances_BHW)
    if max_objects < 1:
        raise ValueError(f"max_objects must be >= 1, got {max_objects}")
    if debug and ((instances_BHW < -1) | (instances_BHW > max_objects)).any():
        raise ValueError(f"instances must be between -1 and max_objects = {max_objects}, got {instances_BHW.min()} to {instances_BHW.max()}")
    chosen = choose_implementation(features_BDhw.device, implementation=implementation)
    with torch.autocast(features_BDhw.device.type, enabled=False):
        if chosen == "reference":
            features_BDhw = features_BDhw.to(torch.promote_types(features_BDhw.dtype, torch.float32))
            sums_PD, num_pixels = pool_dense(features_BDhw, instances_BHW, max_objects=max_objects, stride=stride)
        else:
            sums_PD, num_pixels = mask_pool_op(features_BDhw, instances_BHW, max_objects, stride, chosen == "fused")
        return Pooled(prototypes=unit(sums_PD, dim=1), num_pixels=num_pixels)
