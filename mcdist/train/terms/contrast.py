"""The contrast of pixels with the prototypes of objects."""

from mcdist.choices import Implementation
from mcdist.data.batch import Batch
from mcdist.ops import mask_contrast
from mcdist.train.terms.term import Balance, Candidates, TermValue
from mcdist.types import Embedded


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
