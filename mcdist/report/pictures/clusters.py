"""Cluster strips: the most typical objects of each cluster side by side, where no ground truth names the clusters."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy
from jaxtyping import UInt8
from PIL import Image

from mcdist.report.pictures.strips import write_strips

SIDE_PX, GAP_PX = 120, 6
MARGIN_SHARE = 0.15
"""Of an object's longer side, shown around it."""

Pixels = UInt8[numpy.ndarray, "H W 3"]
Box = tuple[float, float, float, float]


def save_clusters(clusters: Sequence[Sequence[tuple[Pixels, Box]]], folder: Path) -> list[Path]:
    """Write `cluster_NNN.png` for each cluster, from 1, of photos with the object's box (top, left, bottom, right as shares); remove earlier ones.

    Makes no folder where there is no cluster.
    """
    if not clusters and not folder.exists():
        return []
    strips = ((f"cluster_{number:03d}.png", cluster_strip(objects)) for number, objects in enumerate(clusters, start=1) if objects)
    return write_strips(strips, folder=folder, what="clusters", strips_in=cluster_files)


def cluster_files(folder: Path) -> list[Path]:
    """The strips in `folder`, in order; none where there is no folder."""
    return sorted(path for path in folder.glob("cluster_*.png") if re.fullmatch(r"cluster_\d{3,}\.png", path.name))


def cluster_number(path: Path) -> int:
    """The cluster of a strip."""
    return int(path.stem.removeprefix("cluster_"))


def cluster_strip(objects: Sequence[tuple[Pixels, Box]]) -> bytes:
    """The objects, each cut out with a margin and fitted into a square, as one PNG; transparent between them."""
    strip = Image.new("RGBA", (len(objects) * (SIDE_PX + GAP_PX) - GAP_PX, SIDE_PX))
    for place, (photo, box) in enumerate(objects):
        shown = Image.fromarray(numpy.ascontiguousarray(photo)).crop(_square(box, width=photo.shape[1], height=photo.shape[0]))
        strip.paste(shown.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS), (place * (SIDE_PX + GAP_PX), 0))
    content = io.BytesIO()
    strip.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _square(box: Box, *, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, upper, right, lower in px: a square around the box, inside the photo where that is large enough."""
    top, left, bottom, right = box[0] * height, box[1] * width, box[2] * height, box[3] * width
    side = min(max(bottom - top, right - left, 8.0) * (1 + 2 * MARGIN_SHARE), max(width, height))
    upper = _inside((top + bottom - side) / 2, side=side, limit=height)
    begin = _inside((left + right - side) / 2, side=side, limit=width)
    return round(begin), round(upper), round(begin + side), round(upper + side)


def _inside(begin: float, *, side: float, limit: int) -> float:
    return (limit - side) / 2 if side > limit else min(max(begin, 0.0), limit - side)
