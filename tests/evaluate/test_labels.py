import numpy
import pytest

from mcdist.errors import ConfigError
from mcdist.evaluate.metrics.labels import label_map


def test_ids_become_class_indices_and_unnamed_ids_void() -> None:
    labels = label_map({"background": [0, 7], "cat": [8], "dog": [12]})
    assert labels.names == ("background", "cat", "dog")
    assert labels.apply(numpy.array([[0, 7, 8], [12, 3, 255]], dtype=numpy.uint8)).tolist() == [[0, 0, 1], [2, 255, 255]]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "set it in the configuration"),
        ({"background": [0]}, "at least one more class"),
        ({"background": [0], "cat": []}, "cat must have at least one id"),
        ({"background": [0], "cat": [255]}, "255 is void"),
        ({"background": [0], "cat": [-1]}, "ids in 0..254"),
        ({"background": [0], "cat": [8], "dog": [8]}, "id 8 belongs to 'cat' and 'dog'"),
    ],
)
def test_classes_that_contradict_themselves_are_refused(classes: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        label_map(classes)
