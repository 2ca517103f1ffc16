"""Section `evaluate`: how the result is measured."""

from dataclasses import dataclass, field

from mcdist.choices import HeldOutScore, KmeansMethod, Objects, PhotoInput, PredictedBy
from mcdist.config.checks import at_least, check_fields, require, share


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Science: how the result is measured."""

    classes: str | dict[str, list[int]] = field(default_factory=dict)
    """A description in configs/classes (voc21, msrc_v2, ...), the path of one, or name -> ids in the ground truth, of which the first is background. Ids that
    no class names are void."""
    train_classes: str | dict[str, list[int]] = ""
    """As `classes`, of the ground truth of `--train-shards` where its ids differ; a class is the same where its name is. Empty: as `classes`."""
    size_px: int = 512
    """Photos are resized to size_px x size_px (the paper: 512), a multiple of the backbone's stride."""
    input: PhotoInput = "plain"
    """What is done to photos before: plain (the whole photo, squared) | leopart | hummingbird | capi | stego (as the published protocols of these do it:
    docs/protocols/patches.md)."""
    batch: int = 8
    chunk: int = 128
    """Photos in a chunk of the feature store, in whole batches: a killed extraction repeats at most these."""
    objects: Objects = "photo"
    """photo (the paper: one object per photo) | components (connected components of the predicted mask)."""
    predicted_by: PredictedBy = "saliency"
    """What predicts the masks: saliency (the paper) | groups (an object is where the group head's largest set says anything but background)."""
    component_area_min: float = 0.01
    """Smaller components (share of the photo) are dropped; with objects=components."""
    crf_alpha: float = 0.0
    """Above 0: segments of the group head are judged after a CRF too, in rows of their own; log-probabilities are multiplied by it (1, STEGO 2, CAUSE 3)."""
    pca_dim: int = 32
    mean_embedding_pca_dim: int = 0
    """PCA of the mean-embedding protocol; 0 for none."""
    num_clusters: int | list[int] = 0
    """K of the clustering protocols; 0: classes without background. Of several, such as [0, 12, 25], each has rows of its own and the first is quoted."""
    kmeans: KmeansMethod = "faiss"
    """What clusters objects: faiss (the paper: random starts) | plus-plus (k-means++, then clusters are merged and split: a lower inertia in less time, and
    other numbers than the published ones)."""
    num_seeds: int = 5
    memory_size: int = 102_400
    """Patches in the memory of the protocol hummingbird (published: 102,400, 1,024,000 and 10,240,000)."""
    random_weights: bool = False
    """Also a row for the backbone with random weights (of run.seed), a floor. One more pass through a backbone for each photo, which about doubles the time
    of extraction where training left the backbone frozen."""
    num_panels: int = 12
    """Photos shown side by side in the report."""
    limit: int = 0
    """Evaluate only this many photos, the first ones, which the table states; 0 for all."""
    train_limit: int = 0
    """Fit probes on only this many photos of `--train-shards`, the first ones, which the table states; 0 for all."""
    every: int = 0
    """While training, judge the first photos of data.val after every so many steps, on the given masks; 0 for never. Not a bit of the training changes."""
    every_photos: int = 64
    """How many of them."""
    every_by: HeldOutScore = "silhouette"
    """silhouette (how clear K-means clusters are; reads no label) | mean-embedding (mIoU of that protocol, by the labels of these photos)."""

    def __post_init__(self) -> None:
        check_fields(self, section="evaluate")
        at_least("evaluate.size_px", self.size_px, 1)
        share("evaluate.component_area_min", self.component_area_min)
        for name in ("batch", "chunk", "num_seeds", "memory_size", "every_photos"):
            at_least(f"evaluate.{name}", getattr(self, name), 1)
        for name in ("pca_dim", "mean_embedding_pca_dim", "num_panels", "limit", "train_limit", "every"):
            at_least(f"evaluate.{name}", getattr(self, name), 0)
        require(self.crf_alpha >= 0, f"evaluate.crf_alpha must be at least 0, got {self.crf_alpha}")
        numbers = self.cluster_numbers
        require(
            bool(numbers) and min(numbers) >= 0 and len(set(numbers)) == len(numbers),
            f"evaluate.num_clusters must be one or more different numbers >= 0, got {self.num_clusters}",
        )

    @property
    def cluster_numbers(self) -> tuple[int, ...]:
        """`num_clusters`, one or several."""
        return (self.num_clusters,) if isinstance(self.num_clusters, int) else tuple(self.num_clusters)
