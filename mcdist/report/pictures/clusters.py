"""Cluster strips: the most typical objects of each cluster side by side, where no ground truth names the clusters."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mcdist.data.pictures.picture_png import QUICK_LEVEL, encode_picture_png
from mcdist.report.pictures.cut_out import Shown, cut_out
from mcdist.report.pictures.strips import write_strips

SIDE_PX, GAP_PX = 120, 6


def save_clusters(clusters: Sequence[Sequence[Shown]], folder: Path) -> list[Path]:
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


def cluster_strip(objects: Sequence[Shown]) -> bytes:
    """The objects, each cut out with a margin and fitted into a square, as one PNG; transparent between them."""
    strip = Image.new("RGBA", (len(objects) * (SIDE_PX + GAP_PX) - GAP_PX, SIDE_PX))
    for place, shown in enumerate(objects):
        strip.paste(cut_out(shown, side_px=SIDE_PX), (place * (SIDE_PX + GAP_PX), 0))
    return encode_picture_png(strip, level=QUICK_LEVEL)
