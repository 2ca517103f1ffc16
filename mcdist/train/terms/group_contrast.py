"""The contrast of pixels with the prototypes of groups: objects of one group are positives of each other."""

from mcdist.choices import Implementation
from mcdist.data.batch import Batch
from mcdist.loss import target_weights
from mcdist.ops import mask_contrast
from mcdist.train.terms.term import Balance, Candidates, TermValue
from mcdist.types import Embedded


def group_contrast_term(
    embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance, *, temperature: float, implementation: Implementation
) -> TermValue:
    """Each pixel of an object must pick its own group's prototype among those of its set: `mcdist.ops.mask_contrast`; mean over the sets.

    Groups that are not known yet are no candidates, and their objects take no part; nor do objects without a group. Counts `correct` picks among
    `num_pixels`, over all sets.
    """
    targets = candidates.groups
    assert targets is not None and targets.prototypes is not None and targets.known is not None
    sizes = list(targets.num_groups)
    parts = [
        mask_contrast(
            embedded.features,
            batch.query_instances,
            prototypes,
            prototypes[:0],
            temperature=temperature,
            target_of=targets.of[..., place],
            prototype_valid=known,
            target_weight=weight,
            weight_sum=weight_sum,
            pixels_per_object=candidates.pixels_per_object or None,
            seed=batch.indices + candidates.seed,
            implementation=implementation,
        )
        for place, (prototypes, known, pixels) in enumerate(
            zip(targets.prototypes.split(sizes), targets.known.split(sizes), balance.group_chosen_pixels.split(sizes), strict=True)
        )
        for weight, weight_sum in [target_weights(pixels * known)]
    ]
    loss, correct, num_pixels = (sum(getattr(part, name) for part in parts) for name in ("loss", "correct", "num_pixels"))
    return TermValue(loss / len(parts), {"correct": correct, "num_pixels": num_pixels})
