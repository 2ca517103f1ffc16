"""labelme: a JSON file beside each photo, to correct by hand. github.com/wkentaro/labelme; fields as its own files of version 5 have them."""

import base64
import json
from typing import Any

import numpy
from jaxtyping import Bool
from PIL import Image, ImageDraw

from mcdist.data.pictures.png import encode_grey_png
from mcdist.dataset.formats.format import Format, Kind, Target, write_file
from mcdist.dataset.outlines import Ring, outlines_through
from mcdist.dataset.photo import LabelledPhoto, LabelledSegment

VOID_LABEL = "__ignore__"
"""labelme's own word for pixels that are not to count."""
BACKGROUND_LABEL = "_background_"
_VERSION = "5.5.0"

_HOW_TO_OPEN = """\
# in a shell, to look at the labels and correct them:
# labelme train --labels labels.txt --nodata --autosave"""


class Labelme:
    """Two files a photo; a list of labels at the end."""

    def __init__(self, target: Target) -> None:
        """Nothing is written yet."""
        self._target = target

    def add(self, photo: LabelledPhoto, *, suffix: str, content: bytes) -> None:
        """The photo and its shapes."""
        folder, name = self._target.folder / photo.split, f"{photo.key}{suffix}"
        write_file(folder / name, content)
        shapes = [shape for segment in photo.painting_order if segment.class_id != 0 for shape in self._shapes(segment)]
        whole: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": None,
            "imageHeight": photo.height,
            "imageWidth": photo.width,
        }
        write_file(folder / f"{photo.key}.json", json.dumps(whole, indent=1).encode() + b"\n")

    def finish(self) -> None:
        """labels.txt, as labelme's own tools read it: ignored pixels, background, then the classes in the order of their ids."""
        names = [VOID_LABEL, BACKGROUND_LABEL, *self._target.names.values()]
        write_file(self._target.folder / "labels.txt", "".join(f"{name}\n" for name in names).encode())

    def _shapes(self, segment: LabelledSegment) -> list[dict[str, Any]]:
        """A polygon for each part, in one group; a mask where labelme would not draw the polygons as the segment is (holes, single pixels)."""
        label = VOID_LABEL if segment.class_id is None else self._target.names[segment.class_id]
        outlines = outlines_through(segment.crop)
        at = numpy.array([segment.x, segment.y], dtype=numpy.float64)
        if not _drawn_exactly(outlines, crop=segment.crop):
            corner = at + [segment.crop.shape[1] - 1, segment.crop.shape[0] - 1]
            mask = base64.b64encode(encode_grey_png(segment.crop.astype(numpy.uint8))).decode()
            return [_shape(label, points=[at.tolist(), corner.tolist()], kind="mask", segment=segment, mask=mask)]
        return [_shape(label, points=(outline + at).tolist(), kind="polygon", segment=segment, mask=None) for outline in outlines]


def _shape(label: str, *, points: list[list[float]], kind: str, segment: LabelledSegment, mask: str | None) -> dict[str, Any]:
    about = f"cluster {segment.cluster}, confidence {segment.confidence:.3f}"
    return {"label": label, "points": points, "group_id": segment.number, "description": about, "shape_type": kind, "flags": {}, "mask": mask}


def _drawn_exactly(outlines: list[Ring], *, crop: Bool[numpy.ndarray, "h w"]) -> bool:
    """Whether labelme draws the segment from its polygons: by Pillow's polygon with its outline. It refuses one of fewer than three corners."""
    if any(len(outline) < 3 for outline in outlines):
        return False
    canvas = Image.new("L", (crop.shape[1], crop.shape[0]), 0)
    for outline in outlines:
        ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in outline], outline=1, fill=1)
    return bool((numpy.asarray(canvas).astype(bool) == crop).all())


def _begin(target: Target) -> Format:
    return Labelme(target)


KIND = Kind(
    name="labelme",
    summary="labelme: a JSON file beside each photo, to correct the labels by hand",
    begin=_begin,
    how_to_open=_HOW_TO_OPEN,
    reserved=(VOID_LABEL, BACKGROUND_LABEL),
    void=f"Void segments are labelled {VOID_LABEL}, which labelme's converters turn into void.",
)
