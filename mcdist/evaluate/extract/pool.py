"""Pool: object vectors as weighted sums of upsampled embeddings, without upsampling any embedding.

Upsampling U is linear, so sum_p weight_p (U f)_p = sum_q (U' weight)_q f_q: the weights are folded down to the grid of the features instead.
Every pooling is this sum with weights of its own: the saliency logit, or 1 / |u_p| for a mean of unit pixel embeddings. `mcdist.ops.mask_pool`
means the latter too, but makes the pixels, band by band: 2 GiB a photo with the 2,048 channels of a backbone at 512 x 512.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mcdist.evaluate.extract.lengths import pixel_lengths
from mcdist.evaluate.extract.masks import ObjectMasks
from mcdist.evaluate.extract.upsampling import upsampling_weights
from mcdist.records.names import LOGIT_SUM, PREDICTED, UNIT_MEAN

SHORTEST = 1e-12
"""A pixel embedding is divided by no less than this length, as in `mcdist.ops`."""

Kind = tuple[str, str, str]
"""(masks, pooling, encoder), names of `mcdist.records.names`."""


def pool_objects(
    features: Mapping[str, Float[Tensor, "B _ _ _"]],
    *,
    masks: Mapping[str, ObjectMasks],
    saliency: Float[Tensor, "B H W"],
) -> dict[Kind, Float[Tensor, "_ _"]]:
    """Every object's vector of each kind, unit or zero; row `b * max_objects + i - 1` is object i of photo b.

    `logit-sum` weighs a pixel by its saliency logit on predicted masks, and by 1 on proposals, which have none. `unit-mean` weighs it by 1 / |u_p|, so
    that every pixel counts the same. Shapes depend on no value, and nothing waits for the device.
    """
    logit = {name: saliency if name == PREDICTED else torch.ones_like(saliency) for name in masks}
    vectors: dict[Kind, Tensor] = {}
    logit_weights: dict[tuple[int, int], list[Tensor]] = {}
    for encoder, feature_map in features.items():
        grid = (feature_map.shape[2], feature_map.shape[3])
        if grid not in logit_weights:  # the same for every encoder on this grid
            logit_weights[grid] = [_fold(mask, weight=logit[name], grid=grid) for name, mask in masks.items()]
        inverse_length = 1 / pixel_lengths(feature_map, height=saliency.shape[1], width=saliency.shape[2]).clamp(min=SHORTEST)
        weights = logit_weights[grid] + [_fold(mask, weight=inverse_length, grid=grid) for mask in masks.values()]
        pooled = weighted_pool(feature_map, torch.cat(weights, dim=1)).split([part.shape[1] for part in weights], dim=1)
        kinds = [(name, pooling, encoder) for pooling in (LOGIT_SUM, UNIT_MEAN) for name in masks]
        vectors.update({kind: part.flatten(0, 1) for kind, part in zip(kinds, pooled, strict=True)})
    return vectors


def count_pixels(mask: ObjectMasks) -> Int[Tensor, " P"]:
    """Pixels of each object, in the rows of `pool_objects`; objects of 0 pixels are not there."""
    counted = [(mask.objects == number).sum(dim=(1, 2)) for number in range(1, mask.max_objects + 1)]
    return torch.stack(counted, dim=1).flatten()


def _fold(mask: ObjectMasks, *, weight: Float[Tensor, "B H W"], grid: tuple[int, int]) -> Float[Tensor, "B M h w"]:
    return grid_weights(mask.objects, weight=weight, max_objects=mask.max_objects, height=grid[0], width=grid[1])


def grid_weights(
    objects: Int[Tensor, "B H W"],
    *,
    weight: Float[Tensor, "B H W"],
    max_objects: int,
    height: int,
    width: int,
) -> Float[Tensor, "B M h w"]:
    """U' (weight inside object i), one map an object, for features of `height` x `width`. Extra memory: one map `[B, H, W]` at a time."""
    folded = [fold_down(torch.where(objects == number, weight, 0.0), height=height, width=width) for number in range(1, max_objects + 1)]
    return torch.stack(folded, dim=1)


def weighted_pool(features: Float[Tensor, "B D h w"], grid_weight: Float[Tensor, "B M h w"]) -> Float[Tensor, "B M D"]:
    """normalize(sum_{p in o} weight_p u_p), u = `features` upsampled bilinearly (align_corners=False), weights folded by `grid_weights`.

    An object without pixels gives the zero vector.
    """
    return normalize(torch.einsum("bmhw,bdhw->bmd", grid_weight, features), dim=2)


def fold_down(values: Float[Tensor, "B H W"], *, height: int, width: int) -> Float[Tensor, "B h w"]:
    """U' values: the adjoint of the bilinear upsampling from `height` x `width` to H x W."""
    rows_hH = upsampling_weights(height, size=values.shape[1], device=values.device)
    columns_wW = upsampling_weights(width, size=values.shape[2], device=values.device)
    return rows_hH @ (values @ columns_wW.T)
