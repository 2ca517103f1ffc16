"""References: what published papers report under a protocol, to be shown beside a row and marked as theirs.

They hold for the whole of a data set and the paper's own network, not for a subset or other classes. Sources: the papers' tables, November 2026.
"""

from dataclasses import dataclass

from mcdist.records.names import (
    LINEAR_CLEAN,
    LINEAR_EXACT_CLEAN,
    LINEAR_EXACT_PUBLISHED,
    LINEAR_FAST,
    LINEAR_PUBLISHED,
    MASKCONTRAST_KMEANS,
    RETRIEVAL_7_CLEAN,
    RETRIEVAL_7_PUBLISHED,
    RETRIEVAL_21_CLEAN,
    RETRIEVAL_21_PUBLISHED,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """`value` in the protocol's unit, of `model`, in `paper`, on `data`."""

    value: float
    model: str
    paper: str
    data: str


_PAPER, _VOC = "Van Gansbeke et al., ICCV 2021 (arXiv:2102.06191)", "VOC 2012 val, 1,449 photos, 21 classes"
_VOC_7 = "VOC 2012 val, 7 classes"


def _maskcontrast(data: str, **values: float) -> tuple[Reference, ...]:
    return tuple(Reference(value, f"MaskContrast, {name.replace('_', ' ')}", _PAPER, data) for name, value in values.items())


_KMEANS = _maskcontrast(_VOC, supervised_saliency=44.2, unsupervised_saliency=35.0)
_LINEAR = _maskcontrast(_VOC, supervised_saliency=63.9, unsupervised_saliency=58.4)
_RETRIEVAL_21 = _maskcontrast(_VOC, supervised_saliency=49.6, unsupervised_saliency=43.3, MoCo_v2_features=39.0)
_RETRIEVAL_7 = _maskcontrast(_VOC_7, supervised_saliency=62.3, unsupervised_saliency=53.4, MoCo_v2_features=48.0)

REFERENCES: dict[str, tuple[Reference, ...]] = {
    MASKCONTRAST_KMEANS: _KMEANS,
    **dict.fromkeys((LINEAR_PUBLISHED, LINEAR_CLEAN, LINEAR_FAST, LINEAR_EXACT_PUBLISHED, LINEAR_EXACT_CLEAN), _LINEAR),
    **dict.fromkeys((RETRIEVAL_21_PUBLISHED, RETRIEVAL_21_CLEAN), _RETRIEVAL_21),
    **dict.fromkeys((RETRIEVAL_7_PUBLISHED, RETRIEVAL_7_CLEAN), _RETRIEVAL_7),
    "overcluster-500": (Reference(72.6, "NeCo DINOv2 S/14", "NeCo (arXiv:2408.11054)", _VOC),),
    "linear-100": (Reference(84.5, "NeCo", "NeCo (arXiv:2408.11054)", _VOC),),
    "coco-stuff27": (
        Reference(24.5, "STEGO, DINO S/8", "STEGO (arXiv:2203.08414)", "COCO-Stuff 27, 2,175 photos"),
        Reference(45.3, "CAUSE-TR, DINOv2 B/14", "CAUSE (arXiv:2310.07379)", "COCO-Stuff 27, 2,175 photos"),
    ),
    "cityscapes27": (Reference(29.9, "CAUSE-TR, DINOv2 B/14", "CAUSE (arXiv:2310.07379)", "Cityscapes 27, 500 photos"),),
}
"""By protocol; a name without its `/published` or `/clean` holds for both."""


def references_of(protocol: str) -> tuple[Reference, ...]:
    """What papers report under a protocol; none where none is known."""
    return REFERENCES.get(protocol) or REFERENCES.get(protocol.partition("/")[0], ())
