"""One micro-batch for a term alone, in float64: what the step would hand it, from the photos and groups given here."""

import torch
from torch import Tensor

from mcdist.data.batch import Batch
from mcdist.loss import saliency_counts
from mcdist.train.terms import Balance, Candidates, GroupTargets
from mcdist.types import Embedded
from tests.train.step_case import batch_of


def batch_with(instances: Tensor) -> Batch:
    """Photos of these maps."""
    images = torch.zeros(len(instances), 3, *instances.shape[1:])
    return batch_of((images, images, instances, instances, torch.arange(len(instances))))


def given(batch: Batch, targets: GroupTargets, *, pixels_per_object: int = 0) -> tuple[Candidates, Balance]:
    """Candidates without any prototype of an object, and the counts of this batch alone, by loops."""
    nothing = torch.zeros(1, dtype=torch.float64)
    candidates = Candidates(
        prototypes=torch.zeros(1, 4, dtype=torch.float64),
        valid=torch.zeros(1, dtype=torch.bool),
        target_of=torch.full(targets.of.shape[:2], -1),
        bank=torch.zeros(0, 4, dtype=torch.float64),
        num_bank_rows=torch.tensor(0),
        pixels_per_object=pixels_per_object,
        seed=0,
        groups=targets,
    )
    counts = [torch.zeros(sum(targets.num_groups), dtype=torch.int64) for _ in range(2)]
    for photo, instances in enumerate(batch.query_instances):
        for number in range(targets.of.shape[1]):
            pixels = int((instances == number + 1).sum())
            for place, group in enumerate(targets.of[photo, number].tolist()):
                if group >= 0:
                    row = sum(targets.num_groups[:place]) + group
                    counts[0][row] += pixels
                    counts[1][row] += min(pixels, pixels_per_object) if pixels_per_object else pixels
    positive, negative = saliency_counts(batch.query_instances)
    return candidates, Balance(nothing, nothing[0], positive, negative, len(batch.indices), *counts)


def embedded_with(*, features: Tensor | None = None, groups: Tensor | None = None) -> Embedded:
    """What an encoder would give, zeros where nothing is given."""
    shape = (features if features is not None else groups).shape  # type: ignore[union-attr]
    zeros = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.float64)
    return Embedded(zeros if features is None else features, zeros, groups)
