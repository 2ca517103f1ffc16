"""One training step: MaskContrast on one screen.

The key encoder follows the query; every object's key pixels become a prototype; every query pixel must pick its own object's prototype
among those of the batch and of the bank; the saliency head learns the masks. With groups of objects, pixels must also name their object's group, or pick
the prototype that the group has in the memory. Key forwards of all micro-batches come first, so that the candidates are the same whatever the
accumulation, and all collectives are here, in order. Nothing asks the device for a value.

A step whose gradient is not finite is skipped: query, optimizer, bank, memory of groups and the running statistics of both encoders are left as they were.
The key's parameters keep their move at the beginning, since it belongs to the step before: it is how that step's update reaches the key.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.choices import Implementation, MomentumBuffers, Scope, require_choice
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.errors import ConfigError
from mcdist.loss import pixel_counts, saliency_counts, target_weights
from mcdist.model.group_memory import group_members
from mcdist.model.momentum import follow
from mcdist.model.norms.convert import moving_buffers
from mcdist.ops import mask_pool
from mcdist.ops.targets import object_pixels
from mcdist.train.kept import Kept
from mcdist.train.shuffle import inverse, shuffled
from mcdist.train.state import TrainState
from mcdist.train.terms import Balance, Candidates, GroupTargets, Term, TermValue, weighted_sum
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

    @property
    def needs_keys(self) -> bool:
        """Whether a term compares with prototypes of the key view."""
        return any(term.needs_keys for term in self.terms)


@dataclass(frozen=True, slots=True)
class StepResult:
    """Device scalars of one step on this rank; losses are this rank's share (they sum to the whole in global scope).

    `terms`: each term by its name, before its weight; `loss`: their weighted sum. `counts`: what terms counted, as `TERM/COUNT`. `predicted`: the cells given
    to the background and to each group, by set. `prototypes`: of all ranks' objects in the key view; where no term needs those, of this rank's objects in
    the query view of its last micro-batch. `valid`: the ones of objects that are there, and finite.
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    counts: dict[str, Int[Tensor, ""]]
    coverage: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    skipped: Float[Tensor, ""]
    prototypes: Float[Tensor, "P D"]
    valid: Bool[Tensor, " P"]
    predicted: tuple[Int[Tensor, " _"], ...] = ()


@dataclass(frozen=True, slots=True)
class _Share:
    """What one micro-batch adds to the result, without its graph."""

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    counts: dict[str, Int[Tensor, ""]]
    coverage: Float[Tensor, ""]
    predicted: tuple[Int[Tensor, " _"], ...]


def train_step(state: TrainState, micro_batches: list[Batch], *, lr: float, settings: StepSettings) -> StepResult:
    """One optimizer step over this rank's micro-batches."""
    engine, world = state.engine, state.world
    memory = [] if state.memory is None else list(state.memory.buffers())
    kept = [Kept(moving_buffers(state.query)), Kept(moving_buffers(state.key)), Kept([state.bank.ages, *memory])]
    follow(state.key, query=state.query, momentum=settings.momentum, buffers=settings.momentum_buffers)

    if settings.needs_keys:
        pooled = [encode_keys(state, batch, settings=settings, index=index) for index, batch in enumerate(micro_batches)]
        everyone = gather(pooled, world=world)
        if state.memory is not None:
            state.memory.follow(everyone.prototypes, group_of_PS=gather_groups(state, micro_batches), valid=_usable(everyone))
    else:
        pooled, everyone = no_keys(state, micro_batches, settings=settings)
    candidates = choose_candidates(pooled, everyone, micro_batches, state=state, settings=settings)
    balance = count_pixels(micro_batches, candidates, world=world, settings=settings)

    shares = []
    for index, batch in enumerate(micro_batches):
        last = index == len(micro_batches) - 1
        embedded = engine.forward(batch.query_images, last=last)
        values = query_terms(embedded, batch, candidates[index], balance, terms=settings.terms)
        loss = weighted_sum(settings.terms, values)
        engine.backward(loss, last=last, summed=settings.scope == "global")
        shares.append(_share(loss, values, embedded))
    seen = everyone if settings.needs_keys else pool_objects(embedded, batch.query_instances, settings=settings)
    grad_norm, skipped = engine.step(lr=lr)

    newest = by_position(everyone, num_ranks=world.num_ranks, max_objects=settings.max_objects)
    state.bank.enqueue(newest.prototypes, valid=_usable(newest) & (skipped == 0))
    for tensors in kept:
        tensors.put_back(where=skipped)
    return _result(shares, seen, grad_norm=grad_norm, skipped=skipped)


@torch.no_grad()
def encode_keys(state: TrainState, batch: Batch, *, settings: StepSettings, index: int = 0) -> Pooled:
    """Prototypes of the objects of micro-batch `index`, from the key view. Shuffled, its images visit other ranks and their features come home."""
    engine, world = state.engine, state.world
    if settings.shuffle_keys:
        order = shuffled(len(batch.key_images), num_ranks=world.num_ranks, seed=settings.seed, step=state.step, micro_batch=index)
        visitors: Embedded = engine.forward_key(world.permute_rows(batch.key_images, order=order))
        embedded = replace(visitors, features=world.permute_rows(visitors.features, order=inverse(order)))
    else:
        embedded = engine.forward_key(batch.key_images)
    return pool_objects(embedded, batch.key_instances, settings=settings)


@torch.no_grad()
def pool_objects(embedded: Embedded, instances: Int[Tensor, "B H W"], *, settings: StepSettings) -> Pooled:
    """A prototype of each object, without a gradient."""
    return mask_pool(embedded.features.detach(), instances, max_objects=settings.max_objects, implementation=settings.implementation)


def no_keys(state: TrainState, micro_batches: list[Batch], *, settings: StepSettings) -> tuple[list[Pooled], Pooled]:
    """What `encode_keys` and `gather` give where no key view shows an object; no forward pass and no collective."""
    one = state.bank.candidates.new_zeros(1, dtype=torch.float32)
    rows = [len(batch.indices) * settings.max_objects for batch in micro_batches]
    sizes = [*rows, sum(rows) * state.world.num_ranks]
    *pooled, everyone = (Pooled(one.expand(size, state.bank.candidates.shape[1]), one.long().expand(size)) for size in sizes)
    return pooled, everyone


def gather(pooled: list[Pooled], *, world: World) -> Pooled:
    """All ranks' prototypes, rank by rank, micro-batch by micro-batch; one collective.

    Every rank sends a row for each object it might have and the exact count of its pixels, 0 where there is none: how many rows are
    valid may differ between ranks, and nobody has to ask.
    """
    prototypes, num_pixels = world.gather_rows(torch.cat([part.prototypes for part in pooled]), torch.cat([part.num_pixels for part in pooled]))
    return Pooled(prototypes, num_pixels)


def gather_groups(state: TrainState, micro_batches: list[Batch]) -> Int[Tensor, "P S"]:
    """The groups of the objects whose prototypes `gather` gives, in its order; one collective."""
    assert state.table is not None
    (indices,) = state.world.gather_rows(torch.cat([batch.indices for batch in micro_batches]))
    return state.table.of(indices).flatten(0, 1)


def by_position(everyone: Pooled, *, num_ranks: int, max_objects: int) -> Pooled:
    """The same rows by position in the global batch, whatever the ranks: position p is on rank p mod ranks, so the ranks interleave."""
    rows = torch.arange(len(everyone.num_pixels), device=everyone.num_pixels.device).view(num_ranks, -1, max_objects).transpose(0, 1).flatten()
    return Pooled(everyone.prototypes[rows], everyone.num_pixels[rows])


def choose_candidates(pooled: list[Pooled], everyone: Pooled, micro_batches: list[Batch], *, state: TrainState, settings: StepSettings) -> list[Candidates]:
    """Of each micro-batch. Global scope: everyone's prototypes. Rank scope (the paper's code): this rank's own. Groups are the same in both.

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
            groups=group_targets(state, batch),
        )
        for targets, batch in zip(target_of.split([len(part.num_pixels) for part in pooled]), micro_batches, strict=True)
    ]


def group_targets(state: TrainState, batch: Batch) -> GroupTargets | None:
    """The groups of a micro-batch's objects, and what groups look like; None where the run has none."""
    if state.table is None:
        return None
    of = state.table.of(batch.indices)
    if state.memory is None:
        return GroupTargets(state.table.num_groups, of)
    return GroupTargets(state.table.num_groups, of, prototypes=state.memory.prototypes, known=state.memory.known)


def count_pixels(micro_batches: list[Batch], candidates: list[Candidates], *, world: World, settings: StepSettings) -> Balance:
    """Pixels of each target, of foreground and background and of each group, and photos, over everything that the loss is a mean of; one collective."""
    counts = sum(torch.cat(_counts_of(batch, chosen, settings=settings)) for batch, chosen in zip(micro_batches, candidates, strict=True))
    assert isinstance(counts, Tensor)
    num_photos = sum(len(batch.indices) for batch in micro_batches)  # the same on all ranks
    if settings.scope == "global":
        counts, num_photos = world.sum(counts), num_photos * world.num_ranks
    num_groups = sum(candidates[0].groups.num_groups) if candidates[0].groups else 0
    own, saliency, group_pixels, group_chosen_pixels = counts.split([len(candidates[0].valid), 2, num_groups, num_groups])
    return Balance(
        *target_weights(own),
        num_positive=saliency[0],
        num_negative=saliency[1],
        num_photos=num_photos,
        group_pixels=group_pixels,
        group_chosen_pixels=group_chosen_pixels,
    )


def _counts_of(batch: Batch, candidates: Candidates, *, settings: StepSettings) -> list[Int[Tensor, " _"]]:
    """Of one micro-batch: pixels of each prototype, (positive, negative), pixels of each group, and those of them that take part in a contrast."""
    num_prototypes, at_most = len(candidates.valid), settings.pixels_per_object or None
    own = torch.zeros(num_prototypes, dtype=torch.int64, device=candidates.valid.device)
    if settings.needs_keys:
        own = pixel_counts(batch.query_instances, target_of=candidates.target_of, num_prototypes=num_prototypes, pixels_per_object=at_most)
    saliency = torch.stack(saliency_counts(batch.query_instances))
    if candidates.groups is None:
        return [own, saliency]
    pixels_BO = object_pixels(batch.query_instances, num_objects=settings.max_objects)
    members_BOG = group_members(candidates.groups.of, num_groups=candidates.groups.num_groups)
    counted = (pixels_BO, pixels_BO if at_most is None else pixels_BO.clamp_max(at_most))
    return [own, saliency, *((pixels[..., None] * members_BOG).sum(dim=(0, 1)) for pixels in counted)]


def query_terms(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance, *, terms: tuple[Term, ...]) -> dict[str, TermValue]:
    """Each term of a micro-batch by its name: its share of the whole."""
    return {term.name: term.function(embedded, batch, candidates, balance) for term in terms}


def _share(loss: Tensor, values: dict[str, TermValue], embedded: Embedded) -> _Share:
    return _Share(
        loss.detach(),
        terms={name: value.loss.detach() for name, value in values.items()},
        counts={f"{name}/{count}": number for name, value in values.items() for count, number in value.counts.items()},
        coverage=(embedded.saliency.detach() > 0).float().mean(),
        predicted=tuple(cells for value in values.values() for cells in value.predicted),
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
        predicted=tuple(torch.stack(cells).sum(0) for cells in zip(*(share.predicted for share in shares), strict=True)),
    )


def _sums(named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Sum of each name; all have the same names."""
    return {name: torch.stack([tensors[name] for tensors in named]).sum() for name in named[0]}


def _usable(pooled: Pooled) -> Bool[Tensor, " P"]:
    """The rows that may be kept or measured: of an object that is there, and finite."""
    return (pooled.num_pixels > 0) & pooled.prototypes.isfinite().all(1)
