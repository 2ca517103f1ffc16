"""The public operators. Their meaning is stable, and every implementation computes the same."""

from mcdist.ops.mask_contrast.op import mask_contrast
from mcdist.ops.mask_pool.op import mask_pool

__all__ = ["mask_contrast", "mask_pool"]
