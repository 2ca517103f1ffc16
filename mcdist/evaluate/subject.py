"""Subject: what an evaluation is of and how it is done. The photos, the two encoders to compare, and the settings."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from mcdist.data.shards.sample import Sample
from mcdist.evaluate.embed import MASKCONTRAST_KMEANS, MEAN_EMBEDDING


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos to evaluate on: `samples` are all, or a part, of the `num_photos` of `dataset`."""

    samples: Iterable[Sample]
    dataset: str
    num_photos: int


@dataclass(frozen=True, slots=True)
class EncoderPair:
    """The encoder after `step` steps and before the first. Both lie on `device`, offer `backbone(image)` and `head(features)`, and keep the mode they have."""

    trained: nn.Module
    initial: nn.Module
    step: int
    device: torch.device


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How masks become objects, objects vectors, and vectors clusters: see `EvaluateConfig`, whose names these are."""

    size_px: int
    batch: int
    objects: str
    component_area_min: float
    pca_dim: int
    mean_embedding_pca_dim: int
    num_clusters: int
    num_seeds: int
    num_panels: int

    @property
    def pca_dims(self) -> dict[str, int]:
        """PCA dimensions of each protocol; 0 for none."""
        return {MASKCONTRAST_KMEANS: self.pca_dim, MEAN_EMBEDDING: self.mean_embedding_pca_dim}
