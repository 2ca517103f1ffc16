"""One palette for console, figures and report; readers with any colour vision can distinguish the colours."""

import colorsys
from itertools import cycle, islice

TRAINED = "#2f7fd1"
"""The trained encoder, everywhere. Blue and orange stay apart for every common colour vision, on light and dark ground."""

BASELINE = "#e08a2d"
"""What it started from, everywhere."""

THIRD = "#2ba084"
"""A third line in one chart."""

VOID = "#8b95a3"
"""Void pixels, drawn hatched."""

PROPOSALS = ("#b57bff", "#7f4bd6", "#dcbcff", "#9c5cf0")
"""Proposed objects: one family of violets, far from the first ten classes, so that nobody takes them for one."""

_CLASSES = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
    "#44aa99", "#882255", "#999933", "#332288", "#ddcc77", "#117733", "#aa4499",
)  # fmt: skip
"""Okabe and Ito's set, then Tol's: the first seven are the safest."""

_GOLDEN_TURN = 0.61803398875


def line_colours(num_lines: int) -> tuple[str, ...]:
    """A colour for each line of one chart; beyond seventeen they repeat."""
    return tuple(islice(cycle((TRAINED, BASELINE, THIRD, *_CLASSES)), num_lines))


def class_colours(num_classes: int) -> tuple[str, ...]:
    """A colour a class, `#rrggbb`; the first class (background) is grey. The same class index has the same colour whatever `num_classes`."""
    return tuple(_class_colour(index) for index in range(num_classes))


def rgb(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as three numbers in 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _class_colour(index: int) -> str:
    if index == 0:
        return "#4a5361"
    if index <= len(_CLASSES):
        return _CLASSES[index - 1]
    red, green, blue = colorsys.hls_to_rgb(index * _GOLDEN_TURN % 1.0, (0.42, 0.58, 0.70)[index % 3], 0.6)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
