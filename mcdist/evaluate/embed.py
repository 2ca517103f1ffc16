"""Embedding step: a batch of photos to object vectors of every encoder and protocol. All device work of the evaluation is here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mcdist.data.views.normalise import normalise
from mcdist.evaluate.pixel_lengths import pixel_lengths
from mcdist.evaluate.weighted_pool import grid_weights, weighted_pool

ENCODERS = ("trained", "trained backbone", "initial", "initial backbone")
"""Feature sources: embeddings and backbone features, after training and before."""

MASKCONTRAST_KMEANS = "maskcontrast-kmeans"
MEAN_EMBEDDING = "mean-embedding"
PROTOCOLS = (MASKCONTRAST_KMEANS, MEAN_EMBEDDING)

PREDICTED = "predicted"
PROPOSALS = "proposals"
MASKS = (PREDICTED, PROPOSALS)

SHORTEST = 1e-12
"""A pixel embedding is divided by no less than this length, as in `mcdist.ops`."""


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """Instance maps of a batch; no object has a number above `max_objects`."""

    objects: Int[Tensor, "B S S"]
    max_objects: int


@dataclass(frozen=True, slots=True)
class EmbeddedObjects:
    """What one batch gives. Row `b * max_objects + i - 1` of the vectors is object i of photo b.

    `saliency` are the trained encoder's logits at S x S; `predicted` its object map. `vectors` by (masks, protocol, encoder), unit or zero;
    `num_pixels` by masks: objects of 0 pixels are none.
    """

    saliency: Float[Tensor, "B S S"]
    predicted: Int[Tensor, "B S S"]
    vectors: dict[tuple[str, str, str], Float[Tensor, "_ _"]]
    num_pixels: dict[str, Int[Tensor, " _"]]


def evaluation_step(
    images: UInt8[Tensor, "B 3 S S"],
    *,
    trained: nn.Module,
    initial: nn.Module,
    proposals: ObjectMasks,
    predict_objects: Callable[[Tensor], ObjectMasks],
) -> EmbeddedObjects:
    """Each encoder once over the photos, then every object's vector from features at stride 8.

    `predict_objects` turns saliency logits `[B, S, S]` into the predicted masks; nothing else here could wait for the device, and shapes depend
    on no value. Embeddings are never upsampled. Weights of `maskcontrast-kmeans`: the logit on predicted masks, 1 on proposals, which have none.
    Weights of `mean-embedding`: 1 / |u_p|, so that every pixel counts the same.
    """
    features, saliency = _embed(images, trained=trained, initial=initial)
    masks = {PREDICTED: predict_objects(saliency), PROPOSALS: proposals}
    logit = {PREDICTED: saliency, PROPOSALS: torch.ones_like(saliency)}
    vectors: dict[tuple[str, str, str], Tensor] = {}
    logit_weights: dict[tuple[int, int], list[Tensor]] = {}
    for encoder, feature_map in features.items():
        grid = (feature_map.shape[2], feature_map.shape[3])
        if grid not in logit_weights:  # the same for every encoder on this grid
            logit_weights[grid] = [_fold(mask, weight=logit[name], grid=grid) for name, mask in masks.items()]
        inverse_length = 1 / pixel_lengths(feature_map, height=images.shape[2], width=images.shape[3]).clamp(min=SHORTEST)
        weights = logit_weights[grid] + [_fold(mask, weight=inverse_length, grid=grid) for mask in masks.values()]
        pooled = weighted_pool(feature_map, torch.cat(weights, dim=1)).split([part.shape[1] for part in weights], dim=1)
        rows = [(name, protocol, encoder) for protocol in PROTOCOLS for name in masks]
        vectors.update({row: part.flatten(0, 1) for row, part in zip(rows, pooled, strict=True)})
    num_pixels = {name: _num_pixels(mask) for name, mask in masks.items()}
    return EmbeddedObjects(saliency=saliency, predicted=masks[PREDICTED].objects, vectors=vectors, num_pixels=num_pixels)


def _fold(mask: ObjectMasks, *, weight: Float[Tensor, "B S S"], grid: tuple[int, int]) -> Float[Tensor, "B M h w"]:
    return grid_weights(mask.objects, weight=weight, max_objects=mask.max_objects, height=grid[0], width=grid[1])


def _embed(images: UInt8[Tensor, "B 3 S S"], *, trained: nn.Module, initial: nn.Module) -> tuple[dict[str, Tensor], Float[Tensor, "B S S"]]:
    """Feature maps by the names of ENCODERS, and the trained encoder's saliency logits upsampled to the photos' size."""
    inputs = normalise(images)
    features, logits = {}, []
    for name, module in (("trained", trained), ("initial", initial)):
        encoder: Any = module  # attributes of a module have no static type
        backbone = encoder.backbone(inputs)
        embedded = encoder.head(backbone)
        features[name], features[f"{name} backbone"] = embedded.features.float(), backbone.float()
        logits.append(embedded.saliency)
    size = (images.shape[2], images.shape[3])
    return features, interpolate(logits[0].float(), size=size, mode="bilinear", align_corners=False)[:, 0]


def _num_pixels(mask: ObjectMasks) -> Int[Tensor, " P"]:
    counted = [(mask.objects == number).sum(dim=(1, 2)) for number in range(1, mask.max_objects + 1)]
    return torch.stack(counted, dim=1).flatten()


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Modules in eval mode and inference mode of torch; afterwards each submodule is back in the mode it came in."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in before:
            part.training = training
