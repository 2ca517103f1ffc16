"""Settings: how photos become object vectors, and how protocols judge these. `EvaluateConfig` has the same names."""

from dataclasses import dataclass

from mcdist.choices import Objects, PredictedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSettings:
    """What determines the arrays of a feature store, besides the encoders and the photos.

    `objects`: one predicted object a photo, or connected components of at least `component_area_min`, a share of the photo. `predicted_by`: the head
    whose logits predict them. `patches`: keep the feature maps too. `with_truth`: count the ground truth's ids in each object. `crf_alpha`: above 0, those
    of the group head's segments after a CRF too.
    """

    size_px: int
    batch: int
    objects: Objects
    component_area_min: float
    predicted_by: PredictedBy = "saliency"
    patches: bool = False
    with_truth: bool = True
    crf_alpha: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """What the configuration says about protocols; each uses what concerns it. `num_clusters`: every K, the one to quote first; 0 as the protocol says."""

    pca_dim: int
    mean_embedding_pca_dim: int
    num_clusters: tuple[int, ...]
    num_seeds: int
