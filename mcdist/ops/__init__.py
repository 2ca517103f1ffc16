"""The operators of the house: public, stable, and the same in every implementation."""

from mcdist.ops.mask_contrast.op import mask_contrast
from mcdist.ops.mask_pool.op import mask_pool

__all__ = ["mask_contrast", "mask_pool"]
