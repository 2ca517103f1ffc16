"""Evaluating a folder of proposals: against ground truth where there is some, by their own shapes, and by asking the method again on changed photos."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from mcdist.data.pictures.folder import pictures_in, stem_of
from mcdist.data.pictures.map_file import read_map_file
from mcdist.errors import DataError
from mcdist.proposals.flatten import iou
from mcdist.proposals.folder.proposal_folder import ProposalFolder
from mcdist.proposals.folder.read_photo import read_photo
from mcdist.proposals.proposal import Method, Pixels
from mcdist.proposals.quality.saliency import SaliencyScores
from mcdist.proposals.quality.scores import ShapeScores, TruthScores, mean
from mcdist.proposals.quality.truth import Truth

SCALE = 0.75
"""Of the second change a stable method does not mind."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found. `values` by name, in 0..1 but for counts; `purity_by_class` where there was ground truth."""

    num_photos: int
    values: dict[str, float]
    purity_by_class: dict[int, float]
    notes: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "num_photos": self.num_photos,
            "values": {name: round(value, 5) for name, value in self.values.items()},
            "purity_by_class": {str(kind): round(value, 5) for kind, value in self.purity_by_class.items()},
            "notes": self.notes,
        }


def judge_folder(
    masks: Path,
    *,
    truth: Truth | None = None,
    confidence: Path | None = None,
    stretched: bool = False,
    limit: int = 0,
    tick: Callable[[int], None] = lambda _: None,
) -> Judged:
    """Every mask below `masks`, or `limit` of them spread evenly. Masks that `mcdist proposals make` did not write are taken as they are.

    `stretched`: confidence maps are stretched to 0..255 each, as PySODMetrics does.

    Raises:
        DataError: no masks, none with ground truth though `truth` was given, or a file that cannot be read.
    """
    names = spread([name for name in pictures_in(masks) if name.lower().endswith(".png")], num=limit)
    if not names:
        raise DataError(f"expected masks (PNG) in {masks}, found none; make them: mcdist proposals make METHOD PHOTOS --out {masks}")
    shapes, scores = ShapeScores(), TruthScores(saliency=SaliencyScores(stretched=stretched))
    notes = {"without ground truth": 0, "ground truth of another size": 0}
    num_judged = 0
    for name in names:
        instances = read_instances(masks / name)
        shapes.add(instances)
        tick(1)
        if truth is None:
            continue
        wanted = truth.read(name)
        if wanted is None:
            notes["without ground truth"] += 1
        elif wanted.shape != instances.shape:
            notes["ground truth of another size"] += 1
        else:
            num_judged += 1
            scores.add(instances, truth=wanted, confidence=_confidence(confidence, name=name, shape=instances.shape))
    if truth is not None and not num_judged:
        raise DataError(f"expected ground truth for the masks of {masks} in {truth.root}, found none that fits ({notes}); give the folder with the same paths")
    values = {**(scores.values() if truth is not None else {}), **shapes.values()}
    return Judged(
        num_photos=len(names),
        values=values,
        purity_by_class=scores.purity_by_class(),
        notes={note: count for note, count in notes.items() if count},
    )


def stability(method: Method, photos: Path, *, num: int, tick: Callable[[int], None] = lambda _: None) -> dict[str, float]:
    """Mean IoU of the foreground with that of the mirrored photo, and of one shrunk to SCALE, on `num` photos. What it cannot take is left out."""
    mirrored, scaled = [], []
    for name in spread(pictures_in(photos), num=num):
        tick(1)
        try:
            photo = read_photo(photos / name, max_side_px=method.max_side_px).pixels
            found, again, smaller = (_foreground(method, one, name=name) for one in (photo, photo[:, ::-1], _smaller(photo)))
        except DataError:
            continue
        mirrored.append(_agreement(found, again[:, ::-1]))
        enlarged = Image.fromarray(smaller).resize((photo.shape[1], photo.shape[0]), Image.Resampling.NEAREST)
        scaled.append(_agreement(found, numpy.asarray(enlarged)))
    return {"stability_mirrored": mean(mirrored), "stability_shrunk": mean(scaled)}


def option_texts(parameters: dict[str, Any]) -> dict[str, str]:
    """Recorded parameters as `--option` takes them."""
    return {key: _text(value) for key, value in parameters.items()}


def read_instances(path: Path) -> numpy.ndarray:
    """The instance map of a mask file, 255 being void unless only 0 and 255 occur.

    Raises:
        DataError: it cannot be read.
    """
    values = read_map_file(path, what="the mask")
    if set(numpy.unique(values).tolist()) <= {0, 255}:
        return (values > 0).astype(numpy.int16)
    return numpy.where(values == 255, -1, values).astype(numpy.int16)


def spread(names: list[str], *, num: int) -> list[str]:
    """At most `num` of them, from the first to the last; all with 0."""
    if not num or num >= len(names):
        return names
    return [names[place] for place in numpy.linspace(0, len(names) - 1, num).round().astype(int).tolist()]


def photo_of(mask: str, *, photos: Path) -> Path | None:
    """The photo that a mask belongs to; None where it is not there."""
    found = (photos / f"{stem_of(mask)}{suffix}" for suffix in (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG"))
    return next((path for path in found if path.is_file()), None)


def folder_facts(masks: Path) -> dict[str, Any]:
    """proposals.json of the folder, empty where it has none."""
    folder = ProposalFolder(masks)
    return folder.read_manifest() if folder.manifest.is_file() else {}


def _confidence(folder: Path | None, *, name: str, shape: tuple[int, ...]) -> numpy.ndarray | None:
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        return None
    with Image.open(path) as image:
        grey = numpy.asarray(image.convert("L"))
    return grey if grey.shape == shape else None


def _foreground(method: Method, photo: numpy.ndarray, *, name: str) -> numpy.ndarray:
    return method([numpy.ascontiguousarray(photo)], names=[name])[0].instances > 0


def _smaller(photo: Pixels) -> numpy.ndarray:
    size = max(16, round(photo.shape[1] * SCALE)), max(16, round(photo.shape[0] * SCALE))
    return numpy.asarray(Image.fromarray(numpy.ascontiguousarray(photo)).resize(size, Image.Resampling.BOX))


def _agreement(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """IoU, and 1 where both found nothing."""
    return iou(one, other) if (one | other).any() else 1.0


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value) if isinstance(value, list) else str(value)
