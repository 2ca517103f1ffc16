"""PatchMakers: the protocols on feature maps by name, each with the slips of its released code and without."""

from collections.abc import Callable

from mcdist.evaluate.protocols.hummingbird import hummingbird_clean, hummingbird_published
from mcdist.evaluate.protocols.knn_probe import knn_probe_clean, knn_probe_published
from mcdist.evaluate.protocols.linear_100 import linear_100_clean, linear_100_published
from mcdist.evaluate.protocols.logreg_probe import logreg_probe_clean, logreg_probe_published
from mcdist.evaluate.protocols.overcluster import overcluster
from mcdist.evaluate.protocols.protocol import Protocol
from mcdist.evaluate.protocols.scene_probes import scene_probes_clean, scene_probes_published
from mcdist.evaluate.settings import JudgeSettings
from mcdist.records.names import CLEAN, HUMMINGBIRD, KNN_PROBE, LINEAR_100, LOGREG_PROBE, OVERCLUSTER, PUBLISHED, SCENE_PROBES

PATCH_MAKERS: dict[str, Callable[[JudgeSettings], Protocol]] = {
    **{name + end: overcluster(name.removeprefix("overcluster-"), published=end == PUBLISHED) for name in OVERCLUSTER for end in (PUBLISHED, CLEAN)},
    LINEAR_100 + PUBLISHED: linear_100_published,
    LINEAR_100 + CLEAN: linear_100_clean,
    HUMMINGBIRD + PUBLISHED: hummingbird_published,
    HUMMINGBIRD + CLEAN: hummingbird_clean,
    KNN_PROBE + PUBLISHED: knn_probe_published,
    KNN_PROBE + CLEAN: knn_probe_clean,
    LOGREG_PROBE + PUBLISHED: logreg_probe_published,
    LOGREG_PROBE + CLEAN: logreg_probe_clean,
    SCENE_PROBES + PUBLISHED: scene_probes_published,
    SCENE_PROBES + CLEAN: scene_probes_clean,
}
