"""Names of an evaluation, each listed once: encoders, object masks, poolings, protocols and metrics.

Evaluation, report and benchmarks import them; `evaluation.json` and the feature store contain them.
"""

TRAINED, TRAINED_BACKBONE = "trained", "trained backbone"
INITIAL, INITIAL_BACKBONE = "initial", "initial backbone"
ENCODERS = (TRAINED, TRAINED_BACKBONE, INITIAL, INITIAL_BACKBONE)
"""Sources of features: embeddings and backbone features, after training and before the first step."""

BACKBONE = "backbone"
"""The only source where an encoder is judged without a run."""

RANDOM_WEIGHTS = "random weights"
"""A floor: the backbone as it is before anyone trained it (`evaluate.random_weights`)."""

TRAINED_DECODER = "trained decoder"
"""What the trained embedding is linear in: the decoder's features, or the backbone's where the embedding is computed from those."""

RANDOM_LABELS, RANDOM_VECTORS, UPPER_BOUND = "random labels", "random vectors", "upper bound"
FLOORS = (RANDOM_VECTORS, RANDOM_LABELS)
"""Encoders of rows without features: clusters drawn at random, clusters of vectors drawn at random, and the majority class of each mask."""

BASELINE = INITIAL_BACKBONE
"""The encoder that others are compared with: what the run started from."""

PREDICTED, PROPOSALS = "predicted", "proposals"
MASKS = (PREDICTED, PROPOSALS)
"""Sets of object masks: those that the trained encoder predicts, and those that came with the photos."""
TRUE_MASKS = "true"
"""The ground truth's own, under which random labels show what the masks alone are worth."""

LOGIT_SUM, UNIT_MEAN = "logit-sum", "unit-mean"
POOLINGS = (LOGIT_SUM, UNIT_MEAN)
"""Ways from pixel embeddings to an object vector: a sum weighted by the saliency logit, and the mean of unit embeddings."""

MASKCONTRAST_KMEANS, MEAN_EMBEDDING = "maskcontrast-kmeans", "mean-embedding"
OBJECT_GRAPH, GROUP_SEGMENTS = "object-graph", "group-segments"
UNLABELLED_CLUSTERS = "unlabelled-clusters"
RETRIEVAL_21_PUBLISHED, RETRIEVAL_21_CLEAN = "maskcontrast-retrieval-21/published", "maskcontrast-retrieval-21/clean"
RETRIEVAL_7_PUBLISHED, RETRIEVAL_7_CLEAN = "maskcontrast-retrieval-7/published", "maskcontrast-retrieval-7/clean"
LINEAR_PUBLISHED, LINEAR_CLEAN, LINEAR_FAST = "maskcontrast-linear/published", "maskcontrast-linear/clean", "maskcontrast-linear-fast"
OBJECT_ACCURACY = "object-accuracy"
OVERCLUSTER = tuple(f"overcluster-{number}" for number in ("classes", "21", "300", "500"))
LINEAR_100, HUMMINGBIRD, KNN_PROBE, LOGREG_PROBE, SCENE_PROBES = "linear-100", "hummingbird", "knn-probe", "logreg-probe", "scene-probes"
PUBLISHED, CLEAN = "/published", "/clean"
"""Ends of the names of a protocol with the slips of its released code, and without them."""
PATCH_PROTOCOLS = tuple(name + end for name in (*OVERCLUSTER, LINEAR_100, HUMMINGBIRD, KNN_PROBE, LOGREG_PROBE, SCENE_PROBES) for end in (PUBLISHED, CLEAN))
PROTOCOLS = (
    MASKCONTRAST_KMEANS,
    MEAN_EMBEDDING,
    OBJECT_GRAPH,
    GROUP_SEGMENTS,
    UNLABELLED_CLUSTERS,
    OBJECT_ACCURACY,
    RETRIEVAL_21_PUBLISHED,
    RETRIEVAL_21_CLEAN,
    RETRIEVAL_7_PUBLISHED,
    RETRIEVAL_7_CLEAN,
    LINEAR_PUBLISHED,
    LINEAR_CLEAN,
    LINEAR_FAST,
    *PATCH_PROTOCOLS,
)

DAVIS_PROPAGATION, DAVIS_PROPAGATION_DINOV3 = "davis-propagation", "davis-propagation/dinov3"
"""Protocols of videos, for `mcdist davis`."""

LINEAR_EXACT_PUBLISHED, LINEAR_EXACT_CLEAN = "maskcontrast-linear-exact/published", "maskcontrast-linear-exact/clean"
FINETUNE_FRACTION = "finetune-fraction"
"""Protocols with a network in the loop, for `mcdist finetune`; rows of a fraction are named after it, such as finetune-fraction-12.5."""

RANDOM_WEIGHTS = "random weights"
"""The encoder of a row whose network was never trained before it was fine-tuned: the floor of `mcdist finetune`."""

FIRST_FRAME = "first frame"
"""The encoder of a row whose labels are the first frame's, copied to all: the floor of videos."""

MIOU, SILHOUETTE, ACCURACY = "mIoU", "silhouette", "accuracy"
"""Metrics: mean IoU over the classes in %, how clear clusters are, -1..1, and the share of objects that are right in %."""

REGION_AND_BOUNDARY = "J&F"
"""Metric of videos: half of the mean IoU and half of the mean agreement of boundaries, in %."""
