"""One training step: MaskContrast on one screen.

The key encoder follows the query; every object's key pixels become a prototype; every query pixel must pick its own object's prototype
among those of the batch and of the bank; the saliency head learns the masks. Key forwards of all micro-batches come first, so that the
candidates are the same whatever the accumulation, and all collectives are here, in order. Nothing asks the device for a value.

A step whose gradient is not finite is skipped: query, optimizer, the buffers of query and key (BatchNorm's statistics) and the bank are afterwards as they
were before. What stays is the key's move at the beginning, since it belongs to the step before: it is how that step's update reaches the key.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.choices import Implementation
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.loss import pixel_counts, saliency_counts, saliency_loss, target_weights
from mcdist.model.momentum import follow
from mcdist.ops import mask_contrast, mask_pool
from mcdist.train.kept import Kept
from mcdist.train.shuffle import inverse, shuffled
from mcdist.train.state import TrainState
from mcdist.types import Embedded, MaskContrast, Pooled

STEP_STRIDE = 1_000_003
"""Keeps the random choices of different steps apart."""


@dataclass(frozen=True, slots=True)
class StepSettings:
    """The science of a step, plain values."""

    max_objects: int
    temperature: float
    scope: str
    saliency_weight: float
    false_negative_cosine: float
    momentum: float
    momentum_buffers: str
    pixels_per_object: int
    seed: int
    implementation: Implementation
    shuffle_keys: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """The prototypes that pixels choose among, and for each micro-batch the row of each object (-1: absent from the key view)."""

    prototypes: Float[Tensor, "P D"]
    valid: Bool[Tensor, " P"]
    target_of: tuple[Int[Tensor, " _"], ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """What the loss divides by: weights of the targets and saliency counts over all micro-batches, and over all ranks in global scope."""

    target_weight: Float[Tensor, " P"]
    weight_sum: Float[Tensor, ""]
    num_positive: Int[Tensor, ""]
    num_negative: Int[Tensor, ""]


@dataclass(frozen=True, slots=True)
class StepResult:
    """Device scalars of one step on this rank; losses are this rank's share (they sum to the whole in global scope)."""

    contrast: Float[Tensor, ""]
    saliency: Float[Tensor, ""]
    correct: Int[Tensor, ""]
    num_pixels: Int[Tensor, ""]
    coverage: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    skipped: Float[Tensor, ""]
    prototypes: Float[Tensor, "P D"]
    valid: Bool[Tensor, " P"]


def train_step(state: TrainState, micro_batches: list[Batch], *, lr: float, settings: StepSettings) -> StepResult:
    """One optimizer step over this rank's micro-batches."""
    engine, world = state.engine, state.engine.world
    kept = [Kept(state.query.buffers()), Kept(state.key.buffers()), Kept([state.bank.ages])]
    follow(state.key, query=state.query, momentum=settings.momentum, buffers=settings.momentum_buffers)

    pooled = [encode_keys(state, batch, settings=settings, index=index) for index, batch in enumerate(micro_batches)]
    everyone = gather(pooled, world=world)
    candidates = choose_candidates(pooled, everyone, world=world, scope=settings.scope)
    balance = count_pixels(micro_batches, candidates, world=world, settings=settings)

    shares = []
    for index, batch in enumerate(micro_batches):
        last = index == len(micro_batches) - 1
        embedded = engine.forward(batch.query_images, last=last)
        contrast, saliency = query_terms(embedded, batch, candidates, balance, index=index, state=state, settings=settings)
        engine.backward(contrast.loss + settings.saliency_weight * saliency, last=last, summed=settings.scope == "global")
        shares.append((contrast, saliency.detach(), (embedded.saliency.detach() > 0).float().mean()))
    grad_norm, skipped = engine.step(lr=lr)

    newest = by_position(everyone, num_ranks=world.num_ranks, max_objects=settings.max_objects)
    state.bank.enqueue(newest.prototypes, valid=_usable(newest) & (skipped == 0))
    for tensors in kept:
        tensors.put_back(where=skipped)
    return _result(shares, everyone, grad_norm, skipped)


@torch.no_grad()
def encode_keys(state: TrainState, batch: Batch, *, settings: StepSettings, index: int = 0) -> Pooled:
    """Prototypes of the objects of micro-batch `index`, from the key view. Shuffled, its images visit other ranks and their features come home."""
    engine, world = state.engine, state.engine.world
    if settings.shuffle_keys:
        order = shuffled(len(batch.key_images), num_ranks=world.num_ranks, seed=settings.seed, step=state.step, micro_batch=index)
        visitors: Embedded = engine.forward_key(world.permute_rows(batch.key_images, order=order))
        features = world.permute_rows(visitors.features, order=inverse(order))
    else:
        features = engine.forward_key(batch.key_images).features
    return mask_pool(features, batch.key_instances, max_objects=settings.max_objects, implementation=settings.implementation)


def gather(pooled: list[Pooled], *, world: World) -> Pooled:
    """All ranks' prototypes, rank by rank, micro-batch by micro-batch; one collective.

    Every rank sends a row for each object it might have and the exact count of its pixels, 0 where there is none: how many rows are
    valid may differ between ranks, and nobody has to ask.
    """
    prototypes, num_pixels = world.gather_rows(torch.cat([part.prototypes for part in pooled]), torch.cat([part.num_pixels for part in pooled]))
    return Pooled(prototypes, num_pixels)


def by_position(everyone: Pooled, *, num_ranks: int, max_objects: int) -> Pooled:
    """The same rows by position in the global batch, whatever the ranks: position p lies on rank p mod ranks, so the ranks interleave."""
    rows = torch.arange(len(everyone.num_pixels), device=everyone.num_pixels.device).view(num_ranks, -1, max_objects).transpose(0, 1).flatten()
    return Pooled(everyone.prototypes[rows], everyone.num_pixels[rows])


def choose_candidates(pooled: list[Pooled], everyone: Pooled, *, world: World, scope: str) -> Candidates:
    """Global scope: everyone's prototypes. Rank scope (the paper's code): this rank's own."""
    num_own = sum(len(part.num_pixels) for part in pooled)
    own = slice(world.rank * num_own, (world.rank + 1) * num_own)
    among = everyone if scope == "global" else Pooled(everyone.prototypes[own], everyone.num_pixels[own])
    first = world.rank * num_own if scope == "global" else 0
    rows = first + torch.arange(num_own, device=among.num_pixels.device)
    target_of = torch.where(everyone.num_pixels[own] > 0, rows, -1)
    return Candidates(among.prototypes, among.num_pixels > 0, target_of.split([len(part.num_pixels) for part in pooled]))


def count_pixels(micro_batches: list[Batch], candidates: Candidates, *, world: World, settings: StepSettings) -> Balance:
    """Pixels of each target and of foreground and background, over everything that the loss is a mean of; one collective."""
    num_prototypes = len(candidates.valid)
    counts = torch.zeros(num_prototypes + 2, dtype=torch.int64, device=candidates.valid.device)
    for batch, targets in zip(micro_batches, candidates.target_of, strict=True):
        target_of = targets.view(len(batch.query_instances), -1)
        own = pixel_counts(batch.query_instances, target_of=target_of, num_prototypes=num_prototypes, pixels_per_object=settings.pixels_per_object or None)
        positive, negative = saliency_counts(batch.query_instances)
        counts += torch.cat([own, positive[None], negative[None]])
    counts = world.sum(counts) if settings.scope == "global" else counts
    target_weight, weight_sum = target_weights(counts[:-2])
    return Balance(target_weight, weight_sum, counts[-2], counts[-1])


def query_terms(
    embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance, *, index: int, state: TrainState, settings: StepSettings
) -> tuple[MaskContrast, Float[Tensor, ""]]:
    """(contrastive term, saliency term) of micro-batch `index`: its share of the whole."""
    threshold = settings.false_negative_cosine
    contrast = mask_contrast(
        embedded.features,
        batch.query_instances,
        candidates.prototypes,
        state.bank.candidates,
        temperature=settings.temperature,
        target_of=candidates.target_of[index].view(len(batch.query_instances), -1),
        prototype_valid=candidates.valid,
        bank_valid_rows=state.bank.num_valid,
        target_weight=balance.target_weight,
        weight_sum=balance.weight_sum,
        pixels_per_object=settings.pixels_per_object or None,
        seed=batch.indices + settings.seed + STEP_STRIDE * state.step,  # one an image: the choice depends on no rank and no micro-batch
        false_negative_cosine=threshold if threshold < 1 else None,
        implementation=settings.implementation,
    )
    saliency = saliency_loss(embedded.saliency.float(), batch.query_instances, num_positive=balance.num_positive, num_negative=balance.num_negative)
    return contrast, saliency


def _result(shares: list[tuple[MaskContrast, Tensor, Tensor]], everyone: Pooled, grad_norm: Tensor, skipped: Tensor) -> StepResult:
    return StepResult(
        contrast=torch.stack([contrast.loss.detach() for contrast, _, _ in shares]).sum(),
        saliency=torch.stack([saliency for _, saliency, _ in shares]).sum(),
        correct=torch.stack([contrast.correct for contrast, _, _ in shares]).sum(),
        num_pixels=torch.stack([contrast.num_pixels for contrast, _, _ in shares]).sum(),
        coverage=torch.stack([coverage for _, _, coverage in shares]).mean(),
        grad_norm=grad_norm,
        skipped=skipped,
        prototypes=everyone.prototypes,
        valid=_usable(everyone),
    )


def _usable(pooled: Pooled) -> Bool[Tensor, " P"]:
    """The rows that may be kept or measured: of an object that is there, and finite."""
    return (pooled.num_pixels > 0) & pooled.prototypes.isfinite().all(1)
