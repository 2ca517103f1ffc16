"""COCO-Stuff's classes: what the numbers in its maps (stuffthingmaps) mean, as 171 fine or 27 coarse classes.

Sources of stuff.csv: numbers and names are those of the data set's labels.txt (github.com/nightrome/cocostuff), the coarse classes those of its
authors' hierarchy (github.com/nightrome/cocostuff10k, CocoStuffClasses.m); Caesar, Uijlings, Ferrari, CVPR 2018 (arXiv:1612.03716). A pixel of a map
holds the number in labels.txt less one: 0 to 181, 255 unlabelled. Eleven of these numbers are classes that COCO never annotated; no map holds them.
"""

import csv
from pathlib import Path
from typing import Literal

import numpy
from jaxtyping import Int, UInt8

from mcdist.building.pictures.place import Place
from mcdist.errors import DataError

StuffClasses = Literal["coarse", "fine"]

VOID = 255

COARSE_NAMES = (
    "electronic-things",
    "appliance-things",
    "food-things",
    "furniture-things",
    "indoor-things",
    "kitchen-things",
    "accessory-things",
    "animal-things",
    "outdoor-things",
    "person-things",
    "sports-things",
    "vehicle-things",
    "ceiling-stuff",
    "floor-stuff",
    "food-stuff",
    "furniture-stuff",
    "rawmaterial-stuff",
    "textile-stuff",
    "wall-stuff",
    "window-stuff",
    "building-stuff",
    "ground-stuff",
    "plant-stuff",
    "sky-stuff",
    "solid-stuff",
    "structural-stuff",
    "water-stuff",
)
"""In the order that unsupervised segmentation (IIC, PiCIE) numbers them in."""


def _read_table() -> dict[int, tuple[str, str]]:
    with Path(__file__).with_name("stuff.csv").open(newline="", encoding="utf-8") as file:
        return {int(row["number"]): (row["fine"], row["coarse"]) for row in csv.DictReader(file)}


TABLE = _read_table()
"""Number in a map -> (fine class, coarse class), in the order of the 171."""

FINE_NAMES = tuple(fine for fine, _ in TABLE.values())


def class_names(classes: StuffClasses) -> tuple[str, ...]:
    """Name of each class id, 0 first."""
    return COARSE_NAMES if classes == "coarse" else FINE_NAMES


def stuff_labels(values: Int[numpy.ndarray, "H W"], *, classes: StuffClasses, place: Place) -> UInt8[numpy.ndarray, "H W"]:
    """A map's numbers as class ids: 0 to 26 or 0 to 170, 255 void.

    Raises:
        DataError: a number that no COCO-Stuff map holds.
    """
    found = numpy.unique(values).tolist()
    wrong = next((number for number in found if number not in TABLE and number != VOID), None)
    if wrong is not None:
        raise DataError(f"the COCO-Stuff map {place} holds {wrong}, expected 0 to 181 (without eleven ids that COCO never used) or 255; take stuffthingmaps")
    return _table(classes)[values]


def _table(classes: StuffClasses) -> UInt8[numpy.ndarray, "256"]:
    table = numpy.full(256, VOID, dtype=numpy.uint8)
    for index, (number, (_, coarse)) in enumerate(TABLE.items()):
        table[number] = index if classes == "fine" else COARSE_NAMES.index(coarse)
    return table
