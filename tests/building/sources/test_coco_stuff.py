"""COCO-Stuff's table: 171 classes, 27 above them, and no other number."""

from collections import Counter

import numpy
import pytest

from mcdist.building.sources.coco.stuff import COARSE_NAMES, TABLE, StuffClasses, class_names, stuff_labels
from mcdist.errors import DataError

UNUSED = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
"""street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush."""


def test_the_table_has_80_things_and_91_stuff_classes() -> None:
    assert set(TABLE) == set(range(182)) - UNUSED
    kinds = Counter(coarse.rpartition("-")[2] for _, coarse in TABLE.values())
    assert kinds == {"things": 80, "stuff": 91}
    assert {coarse for _, coarse in TABLE.values()} == set(COARSE_NAMES) and len(COARSE_NAMES) == 27


def test_every_number_becomes_the_class_of_its_name() -> None:
    numbers = numpy.array([[*TABLE, 255]], dtype=numpy.int32)
    kinds: tuple[tuple[StuffClasses, int], ...] = (("fine", 0), ("coarse", 1))
    for classes, place in kinds:
        labels = stuff_labels(numbers, classes=classes, place="map.png")[0]
        assert [class_names(classes)[label] for label in labels[:-1]] == [names[place] for names in TABLE.values()] and labels[-1] == 255


@pytest.mark.parametrize("wrong", [*sorted(UNUSED), 182, 254, 256, 65535])
def test_other_numbers_are_refused(wrong: int) -> None:
    with pytest.raises(DataError, match=f"map.png holds {wrong}, expected 0 to 181"):
        stuff_labels(numpy.array([[0, wrong]], dtype=numpy.int32), classes="fine", place="map.png")
