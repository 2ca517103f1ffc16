"""Registry: protocols by name. A new protocol is a file in this folder, a name in `mcdist.records.names` and a line here."""

from collections.abc import Callable, Sequence

from mcdist.choices import did_you_mean
from mcdist.errors import ConfigError
from mcdist.evaluate.protocols.group_segments import group_segments
from mcdist.evaluate.protocols.linear import linear_clean, linear_fast, linear_published
from mcdist.evaluate.protocols.object_accuracy import object_accuracy
from mcdist.evaluate.protocols.object_graph import object_graph
from mcdist.evaluate.protocols.object_kmeans import maskcontrast_kmeans, mean_embedding
from mcdist.evaluate.protocols.patch_makers import PATCH_MAKERS
from mcdist.evaluate.protocols.protocol import Need, Protocol
from mcdist.evaluate.protocols.retrieval import retrieval_7_clean, retrieval_7_published, retrieval_21_clean, retrieval_21_published
from mcdist.evaluate.protocols.unlabelled_clusters import unlabelled_clusters
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView
from mcdist.records.names import (
    CLEAN,
    GROUP_SEGMENTS,
    LINEAR_CLEAN,
    LINEAR_FAST,
    LINEAR_PUBLISHED,
    MASKCONTRAST_KMEANS,
    MEAN_EMBEDDING,
    OBJECT_ACCURACY,
    OBJECT_GRAPH,
    PUBLISHED,
    RETRIEVAL_7_CLEAN,
    RETRIEVAL_7_PUBLISHED,
    RETRIEVAL_21_CLEAN,
    RETRIEVAL_21_PUBLISHED,
    UNLABELLED_CLUSTERS,
)

MAKERS: dict[str, Callable[[JudgeSettings], Protocol]] = {
    MASKCONTRAST_KMEANS: maskcontrast_kmeans,
    MEAN_EMBEDDING: mean_embedding,
    OBJECT_GRAPH: object_graph,
    GROUP_SEGMENTS: group_segments,
    UNLABELLED_CLUSTERS: unlabelled_clusters,
    OBJECT_ACCURACY: object_accuracy,
    RETRIEVAL_21_PUBLISHED: retrieval_21_published,
    RETRIEVAL_21_CLEAN: retrieval_21_clean,
    RETRIEVAL_7_PUBLISHED: retrieval_7_published,
    RETRIEVAL_7_CLEAN: retrieval_7_clean,
    LINEAR_PUBLISHED: linear_published,
    LINEAR_CLEAN: linear_clean,
    LINEAR_FAST: linear_fast,
    **PATCH_MAKERS,
}
"""The first line of a maker's docstring says what the protocol measures; the others, if any, its source and its slips."""

WITH_TRUTH = (MASKCONTRAST_KMEANS, MEAN_EMBEDDING)
WITH_GROUPS = (*WITH_TRUTH, OBJECT_GRAPH, GROUP_SEGMENTS)
WITHOUT_TRUTH = (UNLABELLED_CLUSTERS,)
"""What judges where no protocol is named, the one to quote first; WITH_GROUPS where the encoder has a group head, beside ground truth."""


def make_protocols(names: Sequence[str], *, settings: JudgeSettings) -> tuple[Protocol, ...]:
    """The protocols of these names, each once; `hummingbird` alone is both hummingbird/published and hummingbird/clean.

    Raises:
        ConfigError: no protocol of that name; the nearest one is named.
    """
    return tuple(_maker(name)(settings) for name in dict.fromkeys(whole for name in names for whole in _variants(name)))


def summary_of(name: str) -> str:
    """What a protocol measures, in one line."""
    return (_maker(name).__doc__ or "").strip().splitlines()[0]


def notes_of(name: str) -> list[str]:
    """Source and slips of a protocol, as far as its maker names them, a line each."""
    return [line.strip() for line in (_maker(name).__doc__ or "").strip().splitlines()[1:] if line.strip()]


def check_needs(protocols: Sequence[Protocol], *, store: StoreView) -> None:
    """Raise ConfigError where a protocol needs what `store` does not hold."""
    held = _held(store)
    for protocol in protocols:
        if missing := sorted(protocol.needs - held):
            cure = "; name shards with ground truth to fit it on: --train-shards DIR" if missing == ["train labels"] else ""
            raise ConfigError(f"the protocol {protocol.name} needs {' and '.join(missing)}, {store.dataset} offers {', '.join(sorted(held))} only{cure}")


def _held(store: StoreView) -> set[Need]:
    offered: dict[Need, bool] = {
        "objects": True,
        "patches": store.has_patches,
        "mirrored patches": store.has_mirrored,
        "decoded": store.has_decoded,
        "groups": bool(store.group_numbers),
        "truth": store.truth is not None,
        "label maps": store.has_label_maps,
        "train labels": store.train is not None,
    }
    return {need for need, is_held in offered.items() if is_held}


def _variants(name: str) -> tuple[str, ...]:
    """A name that stands for a protocol with its slips and without: both."""
    return tuple(name + end for end in (PUBLISHED, CLEAN)) if name + PUBLISHED in MAKERS else (name,)


def _maker(name: str) -> Callable[[JudgeSettings], Protocol]:
    if name not in MAKERS:
        raise ConfigError(f"unknown protocol {name!r}; {did_you_mean(name, MAKERS)}known: {', '.join(MAKERS)}")
    return MAKERS[name]
