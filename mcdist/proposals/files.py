"""files: masks or saliency maps that are on disk already become proposals, with the paper's cleaning.

For a photo `a/b.jpg`, the first there is of: `MASKS/a/b.png` (as `read_map` reads it), `MASKS/a/b.npy` ([H, W], or [N, H, W] for N objects), or its
entries in MASKS itself, where that is a JSON of COCO run lengths: `[{"file_name": "a/b.jpg", "segmentation": {"size", "counts"}, "score"}, ...]`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from mcdist.data.pictures.coco_runs import mask_of_runs, runs_of
from mcdist.data.pictures.folder import stem_of
from mcdist.data.pictures.map_file import read_map
from mcdist.errors import ConfigError, DataError
from mcdist.json_text import parse_json
from mcdist.proposals.components import AREA_MIN_SHARE, objects_of
from mcdist.proposals.flatten import flatten
from mcdist.proposals.proposal import CannotProposeError, Method, Pixels, Proposal, ScoredMask

NAME, VERSION = "files", "1"

MISSING = "no mask file"
OTHER_SIZE = "mask of another size than its photo"
DAMAGED = "mask cannot be read"

MAX_IDS = 64
"""An integer map with more different values is taken for a saliency map, unless values=instances."""

VALUES = ("auto", "saliency", "instances")


@dataclass(slots=True)
class Files(Method):
    """Looks maps up by the photo's path. `entries`: the JSON's, by path without suffix."""

    masks: Path = Path()
    threshold: float = 0.5
    area_min_share: float = AREA_MIN_SHARE
    split: bool = False
    values: str = "auto"
    entries: dict[str, list[Any]] | None = field(default=None, repr=False)

    max_side_px = None

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """Read the photo's map and clean it.

        A saliency map's foreground is what exceeds `threshold` of its greatest possible value; an instance map keeps its objects (255 void).
        """
        height, width = photo.shape[:2]
        if self.entries is not None:
            return self._of_runs(name, width=width, height=height)
        array = self._read(name)
        if array.shape[-2:] != (height, width):
            shown = f"{array.shape[-1]} x {array.shape[-2]}" if array.ndim >= 2 else f"{array.size} numbers"
            raise CannotProposeError(f"the mask of {name} is {shown}, its photo {width} x {height}; make the two the same size", outcome=OTHER_SIZE)
        if array.ndim == 3:
            return self._cleaned(flatten([ScoredMask(one > self.threshold * _full(one), 1.0) for one in array], height=height, width=width))
        if self.values == "instances" or (self.values == "auto" and _are_instances(array)):
            void = 65535 if array.max(initial=0) > 255 else 255
            return self._cleaned(numpy.where(array == void, -1, array.astype(numpy.int32)).astype(numpy.int16))
        probability = (array.astype(numpy.float32) / _full(array)).clip(0, 1)
        objects = objects_of(probability > self.threshold, split=self.split, area_min_share=self.area_min_share)
        return Proposal(objects, confidence=probability)

    def _read(self, name: str) -> numpy.ndarray:
        stem = self.masks / stem_of(name)
        png, npy = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.npy")
        try:
            if png.is_file():
                return read_map(png.read_bytes(), soft=self.values != "instances")
        except OSError as error:
            raise CannotProposeError(f"the mask {png} cannot be read ({error.strerror}); check the file and its permissions", outcome=DAMAGED) from error
        except ValueError as error:
            raise CannotProposeError(f"the mask {png} {error}", outcome=DAMAGED) from error
        try:
            if npy.is_file():
                return numpy.load(npy, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CannotProposeError(f"the mask {npy} cannot be read ({str(error).split(chr(10))[0]}); save it again", outcome=DAMAGED) from error
        raise CannotProposeError(f"expected the mask of {name} at {png} or {npy}, found none; add it", outcome=MISSING)

    def _of_runs(self, name: str, *, width: int, height: int) -> Proposal:
        assert self.entries is not None
        entries = self.entries.get(stem_of(name))
        if entries is None:
            raise CannotProposeError(f"expected {name} as a file_name in {self.masks}, found none; add it", outcome=MISSING)
        masks = [_mask_of(entry, width=width, height=height, where=f"{self.masks}, {name}") for entry in entries]
        return self._cleaned(flatten(masks, height=height, width=width))

    def _cleaned(self, instances: numpy.ndarray) -> Proposal:
        """Objects below the least area go; with `split` each connected component is one."""
        objects = numpy.zeros(instances.shape, dtype=numpy.int16)
        for number in numpy.unique(instances[instances > 0]).tolist():
            parts = objects_of(instances == number, split=self.split, area_min_share=self.area_min_share)
            objects[parts > 0] = parts[parts > 0] + objects.max()
        objects[instances < 0] = -1
        return Proposal(objects)


def make(
    *,
    device: str = "cpu",
    masks: str = "",
    threshold: float = 0.5,
    area_min_share: float = AREA_MIN_SHARE,
    split: bool = False,
    values: str = "auto",
) -> Files:
    """`masks`: a folder, or a JSON file of COCO run lengths. `split`: connected components are objects of their own. `values`: saliency, instances, or auto
    (instances where there are integers other than 0 and the greatest, and few of them).
    """
    path = Path(masks)
    if not masks or not path.exists():
        raise ConfigError(f"the proposal method files needs the folder or JSON file of masks, got {masks!r}; name it with --option masks=PATH")
    if not 0 <= threshold <= 1 or not 0 <= area_min_share < 1:
        raise ConfigError(f"files: threshold must be 0..1 and area_min_share 0..1 (below 1), got {threshold:g} and {area_min_share:g}")
    if values not in VALUES:
        raise ConfigError(f"files: values must be one of {', '.join(VALUES)}, got {values!r}")
    parameters = {"masks": path.name, "threshold": threshold, "area_min_share": area_min_share, "split": split, "values": values}
    return Files(
        NAME,
        VERSION,
        parameters,
        masks=path,
        threshold=threshold,
        area_min_share=area_min_share,
        split=split,
        values=values,
        entries=_read_entries(path) if path.is_file() else None,
    )


def _full(array: numpy.ndarray) -> float:
    """What a saliency map's 1 is stored as: 255, 65535, or 1 (also of an integer map that holds nothing above 1)."""
    if array.dtype.kind == "f":
        return 1.0 if array.max(initial=0) <= 1 else 255.0
    return 1.0 if array.max(initial=0) <= 1 else 255.0 if array.max() <= 255 else 65535.0


def _are_instances(array: numpy.ndarray) -> bool:
    if array.dtype.kind == "f" or array.dtype.kind == "b":
        return False
    found = numpy.unique(array)
    inner = found[(found > 0) & (found < 255)]
    # Ids are 1..n without gaps, and few; a saliency map's greys are many, or only 0 and 255.
    return bool(0 < len(inner) <= MAX_IDS and inner[-1] == len(inner) and found[-1] in (inner[-1], 255))


def _read_entries(path: Path) -> dict[str, list[Any]]:
    try:
        content = parse_json(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"expected a JSON of proposals at {path}, it cannot be read ({error}); write it again") from error
    if isinstance(content, dict):
        names = {image["id"]: image["file_name"] for image in content.get("images", []) if isinstance(image, dict) and {"id", "file_name"} <= image.keys()}
        content = [{**entry, "file_name": names.get(entry.get("image_id"))} for entry in content.get("annotations", []) if isinstance(entry, dict)]
    if not isinstance(content, list) or not all(isinstance(entry, dict) and isinstance(entry.get("file_name"), str) for entry in content):
        raise DataError(f"{path} must be a list of objects with file_name and segmentation; write it so")
    entries: dict[str, list[Any]] = {}
    for entry in content:
        entries.setdefault(stem_of(entry["file_name"]), []).append(entry)
    return entries


def _mask_of(entry: dict[str, Any], *, width: int, height: int, where: str) -> ScoredMask:
    segmentation = entry.get("segmentation")
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise CannotProposeError(f"{where}: the segmentation is no run lengths with size and counts; convert polygons first", outcome=DAMAGED)
    if segmentation["size"] != [height, width]:
        raise CannotProposeError(f"{where}: the run lengths are of size {segmentation['size']}, the photo is [{height}, {width}]", outcome=OTHER_SIZE)
    counts = segmentation["counts"]
    try:
        runs = counts if isinstance(counts, list) else runs_of(counts, where=where)
        mask = mask_of_runs(runs, width=width, height=height, where=where)
        return ScoredMask(mask, float(entry.get("score", 1.0)))
    except (DataError, TypeError, ValueError) as error:
        raise CannotProposeError(str(error), outcome=DAMAGED) from error
