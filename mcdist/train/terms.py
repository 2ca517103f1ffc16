"""Loss terms: each is a name, a weight and a function of one micro-batch. Step, loop, log and report know a list of them and nothing else.

A new term is a function here and a line in `mcdist.build.loss_terms`, which takes its weight from the configuration; it is logged as `loss/NAME`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.choices import Implementation
from mcdist.data.batch import Batch
from mcdist.loss import saliency_loss
from mcdist.ops import mask_contrast
from mcdist.types import Embedded


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the pixels of one micro-batch choose among: prototypes, then the bank's first `num_bank_rows` rows.

    `target_of`: the prototype of object i of image b, -1 where the key view has none. `pixels_per_object`: how many random pixels of each
    object choose, 0 for all; which ones follows from `seed`, another one in each step.
    """

    prototypes: Float[Tensor, "P D"]
    valid: Bool[Tensor, " P"]
    target_of: Int[Tensor, "B O"]
    bank: Float[Tensor, "K D"]
    num_bank_rows: Int[Tensor, ""]
    pixels_per_object: int
    seed: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What the loss divides by: weights of the targets, saliency counts and photos over all micro-batches, and over all ranks in global scope.

    A term that is a mean over photos divides the sum over its own ones by `num_photos`.
    """

    target_weight: Float[Tensor, " P"]
    weight_sum: Float[Tensor, ""]
    num_positive: Int[Tensor, ""]
    num_negative: Int[Tensor, ""]
    num_photos: int


@dataclass(frozen=True, slots=True)
class TermValue:
    """A term's share of the whole, before its weight, and what it counted on the way, to be summed over micro-batches and ranks."""

    loss: Float[Tensor, ""]
    counts: dict[str, Int[Tensor, ""]] = field(default_factory=dict)


TermFunction = Callable[[Embedded, Batch, Candidates, Balance], TermValue]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the loss: `weight` times what `function` gives."""

    name: str
    weight: float
    function: TermFunction


def weighted_sum(terms: Sequence[Term], values: dict[str, TermValue]) -> Float[Tensor, ""]:
    """The loss. Nothing else adds terms up."""
    first, *others = (term.weight * values[term.name].loss for term in terms)
    return sum(others, start=first)


def contrast_term(
    embedded: Embedded,
    batch: Batch,
    candidates: Candidates,
    balance: Balance,
    *,
    temperature: float,
    false_negative_cosine: float,
    implementation: Implementation,
) -> TermValue:
    """Each pixel of an object must pick its own object's prototype: `mcdist.ops.mask_contrast`. Counts `correct` picks among `num_pixels`.

    `false_negative_cosine`: candidates closer to the pixel's own prototype are left out; 1 leaves all in.
    """
    contrast = mask_contrast(
        embedded.features,
        batch.query_instances,
        candidates.prototypes,
        candidates.bank,
        temperature=temperature,
        target_of=candidates.target_of,
        prototype_valid=candidates.valid,
        bank_valid_rows=candidates.num_bank_rows,
        target_weight=balance.target_weight,
        weight_sum=balance.weight_sum,
        pixels_per_object=candidates.pixels_per_object or None,
        seed=batch.indices + candidates.seed,  # one an image: the choice depends on no rank and no micro-batch
        false_negative_cosine=false_negative_cosine if false_negative_cosine < 1 else None,
        implementation=implementation,
    )
    return TermValue(contrast.loss, {"correct": contrast.correct, "num_pixels": contrast.num_pixels})


def saliency_term(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance) -> TermValue:
    """The saliency head must tell objects from background: `mcdist.loss.saliency_loss`."""
    return TermValue(saliency_loss(embedded.saliency.float(), batch.query_instances, num_positive=balance.num_positive, num_negative=balance.num_negative))
