"""Term: a summand of the loss is a name, a weight and a function of one micro-batch. Step, loop, log and report know a list of them and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.data.batch import Batch
from mcdist.types import Embedded


@dataclass(frozen=True, slots=True)
class GroupTargets:
    """The groups that the pixels of one micro-batch choose among: sets of `num_groups`, end to end along G.

    `of`: the group of object i of image b in each set, from 0; -1 where it has none. `prototypes`: what each group looks like, if it is `known`; None where
    no term asks for it.
    """

    num_groups: tuple[int, ...]
    of: Int[Tensor, "B O S"]
    prototypes: Float[Tensor, "G D"] | None = None
    known: Bool[Tensor, " G"] | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the pixels of one micro-batch choose among: prototypes, then the bank's first `num_bank_rows` rows.

    `target_of`: the prototype of object i of image b, -1 where the key view has none. `pixels_per_object`: how many random pixels of each
    object choose, 0 for all; which ones follows from `seed`, another one in each step. `groups`: None where the run has none.
    """

    prototypes: Float[Tensor, "P D"]
    valid: Bool[Tensor, " P"]
    target_of: Int[Tensor, "B O"]
    bank: Float[Tensor, "K D"]
    num_bank_rows: Int[Tensor, ""]
    pixels_per_object: int
    seed: int
    groups: GroupTargets | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What the loss divides by: weights of the targets, saliency counts and photos over all micro-batches, and over all ranks in global scope.

    A term that is a mean over photos divides the sum over its own ones by `num_photos`. `group_pixels`: pixels of each group's objects;
    `group_chosen_pixels`: those of them that take part in a contrast. Both are empty where the run has no groups.
    """

    target_weight: Float[Tensor, " P"]
    weight_sum: Float[Tensor, ""]
    num_positive: Int[Tensor, ""]
    num_negative: Int[Tensor, ""]
    num_photos: int
    group_pixels: Int[Tensor, " G"]
    group_chosen_pixels: Int[Tensor, " G"]


@dataclass(frozen=True, slots=True)
class TermValue:
    """A term's share of the whole, before its weight, and what it counted on the way, to be summed over micro-batches and ranks.

    `predicted`: for each set of groups the cells that were given to the background and to each group.
    """

    loss: Float[Tensor, ""]
    counts: dict[str, Int[Tensor, ""]] = field(default_factory=dict)
    predicted: tuple[Int[Tensor, " _"], ...] = ()


TermFunction = Callable[[Embedded, Batch, Candidates, Balance], TermValue]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the loss: `weight` times what `function` gives.

    `needs_keys`: it compares with prototypes of the key view; where no term does, the key encoder looks at no photo. `reads`: what of Embedded its gradient
    reaches; a head that no term reads is frozen.
    """

    name: str
    weight: float
    function: TermFunction
    needs_keys: bool = True
    reads: tuple[str, ...] = ("features", "saliency")


def weighted_sum(terms: Sequence[Term], values: dict[str, TermValue]) -> Float[Tensor, ""]:
    """The loss. Nothing else adds terms up."""
    first, *others = (term.weight * values[term.name].loss for term in terms)
    return sum(others, start=first)
