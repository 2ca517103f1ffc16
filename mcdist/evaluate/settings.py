"""Settings: how photos become object vectors, and how protocols judge these. `EvaluateConfig` has the same names."""

from dataclasses import dataclass

from mcdist.choices import KmeansMethod, Objects, PhotoInput, PredictedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSettings:
    """What determines the arrays of a feature store, besides the encoders and the photos.

    `objects`: one predicted object a photo, or connected components of at least `component_area_min`, a share of the photo. `predicted_by`: the head
    whose logits predict them. `patches`: keep the feature maps too. `decoded`: keep the features that the trained embedding is linear in. `with_truth`: count
    the ground truth's ids in each object. `label_maps`: keep the ground truth itself, of every pixel. `crf_alpha`: above 0, count those of the
    group head's segments after a CRF too. `input`: what is done to photos before (`mcdist.evaluate.inputs`). `mirrored`: keep the feature maps of the
    mirrored photos too. `random_weights`: the backbone with random weights takes part.
    """

    size_px: int
    batch: int
    objects: Objects
    component_area_min: float
    predicted_by: PredictedBy = "saliency"
    patches: bool = False
    decoded: bool = False
    with_truth: bool = True
    label_maps: bool = False
    crf_alpha: float = 0.0
    input: PhotoInput = "plain"
    mirrored: bool = False
    random_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a store keeps for protocols that need it, under the names of `ExtractSettings`; what most do without, since it is large."""

    patches: bool = False
    decoded: bool = False
    label_maps: bool = False
    mirrored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """What the configuration says about protocols; each uses what concerns it. `num_clusters`: every K, the one to quote first; 0 as the protocol says.
    `memory_size`: patches that dense nearest neighbours keep."""

    pca_dim: int
    mean_embedding_pca_dim: int
    num_clusters: tuple[int, ...]
    num_seeds: int
    kmeans: KmeansMethod = "faiss"
    memory_size: int = 102_400
    retrieval_classes: tuple[str, ...] = ()
    """Names of the seven classes of maskcontrast-retrieval-7."""
