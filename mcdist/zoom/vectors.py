"""Vectors: pictures of objects through a backbone, averaged over each object's mask and over its views."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from mcdist.data.views.normalise import normalise
from mcdist.model.backbones.backbone import Backbone

LAST, HEAD, ZOOM = "last", "head", "zoom"
"""Kinds of vectors: of the last block, of the last convolution, and both joined; beside them ZOOM of each margin alone, where there are several."""
WEIGHT_MIN = 1e-4
"""Added to the object's share of a cell: an object that fills no cell by a visible share is the mean of its picture."""


def object_vectors(
    images: UInt8[Tensor, "O M 3 S S"], weights: Float[Tensor, "O M g g"], *, backbone: Backbone, num_views: int
) -> dict[str, Float[Tensor, "O _"]]:
    """Unit vectors of each object, by kind; HEAD and ZOOM only where the backbone has a last convolution.

    last = unit(sum_views unit(sum_q w_q f_q / |f_q|)) with the last block's features f; head the same of the last convolution's, not divided by their
    lengths; zoom = unit(concat(last, head)), and `margin_kind(m)` that of margin m's views alone. View 2 m is the picture with margin m, view 2 m + 1 its
    mirror image.
    """
    pictures = torch.cat([_view(images, view) for view in range(num_views)])
    weights_VOg = torch.cat([_view(weights, view) for view in range(num_views)]).flatten(1) + WEIGHT_MIN
    inputs = normalise(pictures, mean=backbone.mean, std=backbone.std).contiguous(memory_format=torch.channels_last)
    features = backbone(inputs)
    parts = [_pooled(normalize(features.float(), dim=1), weights_VOg, num_views=num_views)]
    if backbone.last_convolution is not None:
        parts.append(_pooled(backbone.last_convolution(features).float(), weights_VOg, num_views=num_views))
    found = {kind: _mean(part) for kind, part in zip((LAST, HEAD), parts, strict=False)}
    if len(parts) > 1:
        found[ZOOM] = _joined(parts)
    if num_views > 2:
        found |= {margin_kind(margin): _joined([part[2 * margin : 2 * margin + 2] for part in parts]) for margin in range((num_views + 1) // 2)}
    return found


def margin_kind(margin: int) -> str:
    """ZOOM of the views with one margin."""
    return f"{ZOOM}-{margin + 1}"


def kinds_of(backbone: Backbone, *, num_views: int) -> tuple[str, ...]:
    """The kinds that `object_vectors` gives."""
    kinds = (LAST,) if backbone.last_convolution is None else (LAST, HEAD, ZOOM)
    return kinds if num_views < 3 else (*kinds, *map(margin_kind, range((num_views + 1) // 2)))


def _view(values: Tensor, view: int) -> Tensor:
    margin, mirrored = divmod(view, 2)
    return values[:, margin].flip(-1) if mirrored else values[:, margin]


def _pooled(features: Float[Tensor, "N D g g"], weights: Float[Tensor, "N q"], *, num_views: int) -> Float[Tensor, "V O D"]:
    """Unit over each picture's weights, view by view."""
    return normalize(torch.einsum("ndq,nq->nd", features.flatten(2), weights), dim=1).unflatten(0, (num_views, -1))


def _mean(vectors: Float[Tensor, "V O D"]) -> Float[Tensor, "O D"]:
    """Unit again over the views."""
    return normalize(vectors.sum(dim=0), dim=1)


def _joined(parts: list[Float[Tensor, "V O _"]]) -> Float[Tensor, "O _"]:
    """Each part's mean, end to end, unit."""
    return normalize(torch.cat([_mean(part) for part in parts], dim=1), dim=1)
