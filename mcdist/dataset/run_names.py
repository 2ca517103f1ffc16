"""What a run's clusters are called now: its catalogue and its names, applied to the vectors of segments. No network and no photo is needed."""

from dataclasses import dataclass
from pathlib import Path

import numpy

from mcdist.building.source import safe_keys
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import Classes
from mcdist.catalogue.names_of_run import names_of
from mcdist.data.pictures.folder import stem_of
from mcdist.dataset.labels import UNNAMED_NAME, Named, Namer, as_written
from mcdist.dataset.segments import SegmentedPhoto
from mcdist.errors import DataError
from mcdist.run_dir import RunDir

_SAME_BOX_IOU = 0.8
"""A rejected object of the catalogue and a segment of the same photo are one thing where their boxes overlap so far: both were found by the same network."""


@dataclass(frozen=True, slots=True)
class NameSource:
    """Where names come from: the named classes by id (None: those that the segments themselves carry), what names a photo's segments, and facts for people.

    `step`: of the encoder whose vectors are named; None where any will do.
    """

    classes: dict[int, str] | None
    name: Namer
    facts: dict[str, str]
    step: int | None = None


def names_in_segments() -> NameSource:
    """The names at the time of segmenting."""
    return NameSource(classes=None, name=as_written, facts={"names": "those that the segments had when they were made"})


def names_of_run(run_dir: RunDir) -> NameSource:
    """The run's names of today.

    Raises:
        ConfigError: no such run.
        DataError: it has no catalogue, or a file is damaged.
    """
    catalogue = Catalogue.open(run_dir)
    names = names_of(run_dir, catalogue=catalogue).read()
    classes = names.apply(catalogue.clusters)
    rejected = _rejected_boxes(catalogue, rows=names.now.rejected)

    def name(photo: SegmentedPhoto) -> list[Named]:
        return _named(photo, classes=classes, rejected=rejected)

    facts = {
        "names": f"{run_dir.names.name}, revision {names.revision}",
        "catalogue": f"{catalogue.key}: {len(catalogue.objects):,} objects of {len(catalogue.photos):,} photos in {catalogue.clusters.num_clusters} clusters",
        "checkpoint": f"step {catalogue.facts.step}, SHA-256 {catalogue.facts.checkpoint[:16]}",
        "trained on": Path(catalogue.facts.dataset).name,
    }
    return NameSource(classes=dict(list(enumerate(classes.names))[1 : classes.num_named]), name=name, facts=facts, step=catalogue.facts.step)


def _named(photo: SegmentedPhoto, *, classes: Classes, rejected: dict[str, numpy.ndarray]) -> list[Named]:
    if not photo.segments:
        return []
    lengths = {len(segment.vector) for segment in photo.segments}
    if lengths != {classes.clusters.num_dims}:
        raise DataError(
            f"{photo.where}: the vectors have {sorted(lengths)} numbers, the run's clusters need {classes.clusters.num_dims}; "
            "these segments are of another run: segment the photos again"
        )
    found = classes.assign(numpy.stack([segment.vector for segment in photo.segments]))
    boxes = rejected.get(safe_keys([stem_of(photo.photo)])[0])
    named = []
    for place, segment in enumerate(photo.segments):
        class_id, confidence = int(found.class_id[place]), float(found.confidence[place])
        unnamed = UNNAMED_NAME.fullmatch(classes.names[class_id]) if class_id >= classes.num_named else None
        is_rejected = boxes is not None and _is_rejected(photo, box_xywh=segment.box_xywh, boxes=boxes)
        if unnamed:
            named.append(Named(int(unnamed.group(1)), None, None, confidence, rejected=is_rejected))
        else:
            named.append(Named(int(found.cluster[place]), class_id, classes.names[class_id], confidence, rejected=is_rejected))
    return named


def _rejected_boxes(catalogue: Catalogue, *, rows: frozenset[int]) -> dict[str, numpy.ndarray]:
    """The boxes of rejected objects by their photo's key: top, left, bottom, right as shares of the photo."""
    boxes: dict[str, list[numpy.ndarray]] = {}
    for row in sorted(rows):
        boxes.setdefault(catalogue.photos[int(catalogue.objects.photo[row])], []).append(catalogue.objects.box[row])
    return {key: numpy.stack(found) for key, found in boxes.items()}


def _is_rejected(photo: SegmentedPhoto, *, box_xywh: tuple[float, ...], boxes: numpy.ndarray) -> bool:
    x, y, width, height = box_xywh
    own = numpy.array([y / photo.height, x / photo.width, (y + height) / photo.height, (x + width) / photo.width])
    low, high = numpy.maximum(own[:2], boxes[:, :2]), numpy.minimum(own[2:], boxes[:, 2:])
    common = numpy.clip(high - low, 0, None).prod(axis=1)
    both = (own[2:] - own[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - common
    return bool((common / numpy.maximum(both, 1e-12) >= _SAME_BOX_IOU).any())
