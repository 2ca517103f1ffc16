"""One training step: MaskContrast on one screen.

The key encoder follows the query; every object's key pixels become a prototype; every query pixel must pick its own object's prototype
among those of the batch and of the bank; the saliency head learns the masks. Key forwards of all micro-batches come first, so that the
candidates are the same whatever the accumulation, and all collectives are here, in order. Nothing asks the device for a value.

A step whose gradient is not finite is skipped: query, optimizer, bank and the running statistics of both encoders are left as they were.
The key's parameters keep their move at the beginning, since it belongs to the step before: it is how that step's update reaches the key.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.choices import Implementation, MomentumBuffers, Scope, require_choice
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.errors import ConfigError
from mcdist.loss import pixel_counts, saliency_counts, target_weights
from mcdist.model.momentum import follow
from mcdist.ops import mask_pool
from mcdist.train.kept import Kept
from mcdist.train.shuffle import inverse, shuffled
from mcdist.train.state import TrainState
from mcdist.train.terms import Balance, Candidates, Term, TermValue, weighted_sum
from mcdist.types import Embedded, Pooled

STEP_STRIDE = 1_000_003
"""Keeps the random choices of different steps apart."""


@dataclass(frozen=True, slots=True)
class StepSettings:
    """The science of a step, plain values. `terms`: the summands of the loss."""

    terms: tuple[Term, ...]
    max_objects: int
    scope: Scope
    momentum: float
    momentum_buffers: MomentumBuffers
    pixels_per_object: int
    seed: int
    implementation: Implementation
    shuffle_keys: bool = False

    def __post_init__(self) -> None:
        require_choice("loss.scope", self.scope, choices=Scope)
        require_choice("model.momentum_buffers", self.momentum_buffers, choices=MomentumBuffers)
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"the names of the loss terms must differ, got {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class StepResult:
    """Device scalars of one step on this rank; losses are this rank's share (they sum to the whole in global scope).

    `terms`: each term by its name, before its weight; `loss`: their weighted sum. `counts`: what terms counted, as `TERM/COUNT`. `valid`: the prototypes of
    objects that are there, and finite.
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    counts: dict[str, Int[Tensor, ""]]
    coverage: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    skipped: Float[Tensor, ""]
    prototypes: Float[Tensor, "P D"]
    valid: Bool[Tensor, " P"]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one micro-batch adds to the result, without its graph."""

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    counts: dict[str, Int[Tensor, ""]]
    coverage: Float[Tensor, ""]


def train_step(state: TrainState, micro_batches: list[Batch], *, lr: float, settings: StepSettings) -> StepResult:
    """One optimizer step over this rank's micro-batches."""
    engine, world = state.engine, state.world
    kept = [Kept(state.query.buffers()), Kept(state.key.buffers()), Kept([state.bank.ages])]
    follow(state.key, query=state.query, momentum=settings.momentum, buffers=settings.momentum_buffers)

    pooled = [encode_keys(state, batch, settings=settings, index=index) for index, batch in enumerate(micro_batches)]
    everyone = gather(pooled, world=world)
    candidates = choose_candidates(pooled, everyone, state=state, settings=settings)
    balance = count_pixels(micro_batches, candidates, world=world, settings=settings)

    shares = []
    for index, batch in enumerate(micro_batches):
        last = index == len(micro_batches) - 1
        embedded = engine.forward(batch.query_images, last=last)
        values = query_terms(embedded, batch, candidates[index], balance, terms=settings.terms)
        loss = weighted_sum(settings.terms, values)
        engine.backward(loss, last=last, summed=settings.scope == "global")
        shares.append(_share(loss, values, embedded))
    grad_norm, skipped = engine.step(lr=lr)

    newest = by_position(everyone, num_ranks=world.num_ranks, max_objects=settings.max_objects)
    state.bank.enqueue(newest.prototypes, valid=_usable(newest) & (skipped == 0))
    for tensors in kept:
        tensors.put_back(where=skipped)
    return _result(shares, everyone, grad_norm=grad_norm, skipped=skipped)


@torch.no_grad()
def encode_keys(state: TrainState, batch: Batch, *, settings: StepSettings, index: int = 0) -> Pooled:
    """Prototypes of the objects of micro-batch `index`, from the key view. Shuffled, its images visit other ranks and their features come home."""
    engine, world = state.engine, state.world
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
    """The same rows by position in the global batch, whatever the ranks: position p is on rank p mod ranks, so the ranks interleave."""
    rows = torch.arange(len(everyone.num_pixels), device=everyone.num_pixels.device).view(num_ranks, -1, max_objects).transpose(0, 1).flatten()
    return Pooled(everyone.prototypes[rows], everyone.num_pixels[rows])


def choose_candidates(pooled: list[Pooled], everyone: Pooled, *, state: TrainState, settings: StepSettings) -> list[Candidates]:
    """Of each micro-batch. Global scope: everyone's prototypes. Rank scope (the paper's code): this rank's own.

    A prototype that is not finite stays a candidate, so that the loss shows it and the step is skipped.
    """
    num_own = sum(len(part.num_pixels) for part in pooled)
    own = slice(state.world.rank * num_own, (state.world.rank + 1) * num_own)
    among = everyone if settings.scope == "global" else Pooled(everyone.prototypes[own], everyone.num_pixels[own])
    first = own.start if settings.scope == "global" else 0
    rows = first + torch.arange(num_own, device=among.num_pixels.device)
    target_of = torch.where(everyone.num_pixels[own] > 0, rows, -1)
    return [
        Candidates(
            among.prototypes,
            among.num_pixels > 0,
            targets.view(-1, settings.max_objects),
            bank=state.bank.candidates,
            num_bank_rows=state.bank.num_valid,
            pixels_per_object=settings.pixels_per_object,
            seed=settings.seed + STEP_STRIDE * state.step,
        )
        for targets in target_of.split([len(part.num_pixels) for part in pooled])
    ]


def count_pixels(micro_batches: list[Batch], candidates: list[Candidates], *, world: World, settings: StepSettings) -> Balance:
    """Pixels of each target and of foreground and background, and photos, over everything that the loss is a mean of; one collective."""
    num_prototypes, at_most = len(candidates[0].valid), settings.pixels_per_object or None
    counts = torch.zeros(num_prototypes + 2, dtype=torch.int64, device=candidates[0].valid.device)
    for batch, chosen in zip(micro_batches, candidates, strict=True):
        own = pixel_counts(batch.query_instances, target_of=chosen.target_of, num_prototypes=num_prototypes, pixels_per_object=at_most)
        positive, negative = saliency_counts(batch.query_instances)
        counts += torch.cat([own, positive[None], negative[None]])
    num_photos = sum(len(batch.indices) for batch in micro_batches)  # the same on all ranks
    if settings.scope == "global":
        counts, num_photos = world.sum(counts), num_photos * world.num_ranks
    target_weight, weight_sum = target_weights(counts[:-2])
    return Balance(target_weight, weight_sum, num_positive=counts[-2], num_negative=counts[-1], num_photos=num_photos)


def query_terms(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance, *, terms: tuple[Term, ...]) -> dict[str, TermValue]:
    """Each term of a micro-batch by its name: its share of the whole."""
    return {term.name: term.function(embedded, batch, candidates, balance) for term in terms}


def _share(loss: Tensor, values: dict[str, TermValue], embedded: Embedded) -> _Share:
    return _Share(
        loss.detach(),
        terms={name: value.loss.detach() for name, value in values.items()},
        counts={f"{name}/{count}": number for name, value in values.items() for count, number in value.counts.items()},
        coverage=(embedded.saliency.detach() > 0).float().mean(),
    )


def _result(shares: list[_Share], everyone: Pooled, *, grad_norm: Tensor, skipped: Tensor) -> StepResult:
    return StepResult(
        loss=torch.stack([share.loss for share in shares]).sum(),
        terms=_sums([share.terms for share in shares]),
        counts=_sums([share.counts for share in shares]),
        coverage=torch.stack([share.coverage for share in shares]).mean(),
        grad_norm=grad_norm,
        skipped=skipped,
        prototypes=everyone.prototypes,
        valid=_usable(everyone),
    )


def _sums(named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Sum of each name; all have the same names."""
    return {name: torch.stack([tensors[name] for tensors in named]).sum() for name in named[0]}


def _usable(pooled: Pooled) -> Bool[Tensor, " P"]:
    """The rows that may be kept or measured: of an object that is there, and finite."""
    return (pooled.num_pixels > 0) & pooled.prototypes.isfinite().all(1)
