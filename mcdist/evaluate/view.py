"""StoreView: what protocols read. The arrays of a feature store by subject, and the ground truth where there is one. No photo and no encoder."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.distributed import ALONE, World
from mcdist.errors import DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.table_names import BOX, DROPPED, ID, LABELS, LOST, PHOTO, SEGMENTS, mirrored_of, patches_of, segments_of, vectors_of
from mcdist.evaluate.truth import Truth
from mcdist.records import Example, Subject
from mcdist.records.names import BACKBONE, ENCODERS, MASKS, RANDOM_WEIGHTS, TRAINED_DECODER, UNIT_MEAN
from mcdist.store.names import PHOTOS
from mcdist.store.store import Column, FeatureStore


@dataclass(frozen=True, slots=True)
class StoreView:
    """`dataset` names the photos in messages; `truth` is None where no ground truth is known.

    `train`: other photos of the same encoders, with ground truth, that a probe may be fitted on; its classes have the numbers of this one's. `world`: the
    ranks that judge together; each has a view of the same store.
    """

    store: FeatureStore
    dataset: str
    truth: Truth | None = None
    train: "StoreView | None" = None
    world: World = ALONE

    @property
    def masks(self) -> tuple[str, ...]:
        """Sets of object masks that the store has vectors of."""
        return tuple(masks for masks in MASKS if not self.store.num_photos or masks in self.store.tables)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Sources of features that the store has object vectors of: those of a run, or a backbone alone."""
        if not self.store.num_photos:
            return ENCODERS
        return tuple(encoder for encoder in (*ENCODERS, RANDOM_WEIGHTS, BACKBONE) if self.store.has(self.masks[0], vectors_of(UNIT_MEAN, encoder)))

    @property
    def known_truth(self) -> Truth:
        """The ground truth, for protocols that need it; DataError without."""
        if self.truth is None:
            raise DataError(f"{self.dataset} has no ground truth to judge by; build the shards with labels and name them in data.val")
        return self.truth

    @property
    def has_patches(self) -> bool:
        """Whether the store holds the feature maps of all encoders."""
        return all(self.store.has(PHOTOS, patches_of(encoder)) for encoder in self.encoders)

    @property
    def known_train(self) -> "StoreView":
        """The photos to fit a probe on, for protocols that need them; DataError without."""
        if self.train is None:
            raise DataError(f"a probe needs other photos with ground truth than those of {self.dataset}; name their shards with --train-shards")
        return self.train

    @property
    def has_mirrored(self) -> bool:
        """Whether the store holds the feature maps of the mirrored photos."""
        return all(self.store.has(PHOTOS, mirrored_of(encoder)) for encoder in self.encoders)

    @property
    def has_decoded(self) -> bool:
        """Whether the store holds what the trained embedding is linear in. A backbone alone has no embedding; its features are the nearest thing."""
        return self.store.has(PHOTOS, patches_of(TRAINED_DECODER)) or (self.encoders == (BACKBONE,) and self.has_patches)

    @property
    def has_label_maps(self) -> bool:
        """Whether the store holds the ground truth of every pixel."""
        return self.truth is not None and self.store.has(LABELS, ID)

    @property
    def label_maps(self) -> LabelMaps:
        """The ground truth pixel by pixel; to be read in pieces, and opened once."""
        return LabelMaps(self.store, labels=self.known_truth.labels)

    @property
    def group_numbers(self) -> tuple[int, ...]:
        """K of each set of groups whose segments the store counts, ascending; none without a group head or without ground truth."""
        return tuple(sorted(int(name.removeprefix(SEGMENTS)) for name in self.store.columns(PHOTOS) if name.startswith(SEGMENTS)))

    @property
    def crf_alpha(self) -> float:
        """What log-probabilities were multiplied by before the CRF of the segments; 0 where the store has none after a CRF."""
        return float(self.store.manifest.plan.settings.get("crf_alpha", 0.0))

    def segments(self, num_groups: int, *, after_crf: bool = False) -> Iterator[Int[numpy.ndarray, "p K1 256"]]:
        """Pixels of each photo by group (0: background) and id of the ground truth, some photos at a time."""
        return (chunk.astype(numpy.int64) for chunk in self.store.column(PHOTOS, segments_of(num_groups, after_crf=after_crf)).chunks())

    def num_objects(self, masks: str) -> int:
        """Objects of a set of masks over all photos."""
        return self.store.num_rows(masks) if masks in self.store.tables else 0

    def vectors(self, subject: Subject, *, pooling: str) -> Float[Tensor, "O D"]:
        """All object vectors of one kind, in photo order."""
        return torch.from_numpy(self.store.column(subject.masks, vectors_of(pooling, subject.encoder)).read())

    def patches(self, encoder: str) -> Column:
        """The feature maps of an encoder, fp16 [h, w, D] a photo; to be read in pieces."""
        return self.store.column(PHOTOS, patches_of(encoder))

    def examples(self, masks: str, *, rows: list[int]) -> tuple[Example, ...]:
        """Photo and box of some objects."""
        photos, boxes = (self.store.column(masks, name).read()[rows] for name in (PHOTO, BOX))
        return tuple(Example(sample=int(photo), box=tuple(box.tolist())) for photo, box in zip(photos, boxes, strict=True))

    def counts(self) -> dict[str, int]:
        """What was left out, in words."""
        if not self.store.num_photos:
            return {}
        counted = {}
        for masks in self.masks:
            num_with = len(set(self.store.column(masks, PHOTO).read().tolist()))
            counted[f"{masks}: photos without an object"] = self.store.num_photos - num_with
            counted[f"{masks}: objects without a pixel after resizing"] = int(self.store.column(PHOTOS, f"{LOST}/{masks}").read().sum())
        if self.store.manifest.plan.settings.get("objects") == "components" and self.store.has(PHOTOS, DROPPED):
            counted["predicted: components below component_area_min"] = int(self.store.column(PHOTOS, DROPPED).read().sum())
        if self.truth is not None:
            counted["photos without an evaluated pixel"] = self.truth.num_photos_without
        return dict(sorted(counted.items()))
