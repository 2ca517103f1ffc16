"""Descriptions of data sets: those that come with mcdist are whole, and any other one is read or refused in a sentence."""

from pathlib import Path

import pytest

from mcdist.building.sources.coco.stuff import COARSE_NAMES, TABLE
from mcdist.config.classes import Classes, find_classes, known_classes
from mcdist.config.file import config_of
from mcdist.errors import ConfigError
from mcdist.evaluate.metrics.labels import NO_CLASS, VOID_CLASS, label_map

NUM_CLASSES = {
    "camvid11": 11,
    "cityscapes19": 19,
    "cityscapes27": 27,
    "coco_stuff171": 171,
    "coco_stuff27": 27,
    "coco_stuff27_of_171": 27,
    "davis": 2,
    "msrc_v2": 23,
    "msrc_v2_objects": 16,
    "voc21": 21,
    "voc7": 8,
    "voc_animals": 7,
}


@pytest.mark.parametrize("name", known_classes())
def test_each_description_is_whole(name: str) -> None:
    found = find_classes(name, key="evaluate.classes")
    labels = label_map(found.ids, has_background=found.has_background)
    assert len(found.ids) == NUM_CLASSES[name] and labels.ids == {one: sorted(ids) for one, ids in found.ids.items()}
    assert (labels.names[0] == NO_CLASS) == (not found.has_background)


def test_subsets_and_coarse_classes_are_those_of_the_whole() -> None:
    voc, seven, animals = (find_classes(name, key="x").ids for name in ("voc21", "voc7", "voc_animals"))
    assert voc["background"] == [0] and voc["tvmonitor"] == [20] and voc["person"] == [15]
    assert seven.items() <= voc.items() and animals.items() <= voc.items()
    city, benchmark = (find_classes(name, key="x").ids for name in ("cityscapes27", "cityscapes19"))
    assert benchmark.items() <= city.items() and sorted(sum(city.values(), [])) == list(range(7, 34))
    fine, coarse = (find_classes(name, key="x").ids for name in ("coco_stuff171", "coco_stuff27_of_171"))
    assert list(coarse) == list(COARSE_NAMES)
    for place, (name, of) in enumerate(TABLE.values()):
        assert fine[name] == [place] and place in coarse[of]


def test_a_file_of_ones_own_puts_background_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("background: ground\nclasses: {cat: [8], ground: [0, 1]}\n")
    assert find_classes(str(path), key="evaluate.classes") == Classes({"ground": [0, 1], "cat": [8]})
    assert list(find_classes(str(path), key="x").ids) == ["ground", "cat"]
    path.write_text("background: null\nclasses: {cat: [8], dog: [9]}\n")
    labels = label_map(find_classes(str(path), key="x").ids, has_background=False)
    assert labels.names == (NO_CLASS, "cat", "dog") and labels.index_of[[0, 8, 9]].tolist() == [VOID_CLASS, 1, 2]


def test_a_mapping_stays_what_it_was() -> None:
    assert find_classes({"ground": [0], "cat": [8]}, key="evaluate.classes") == Classes({"ground": [0], "cat": [8]})
    assert config_of(["evaluate.classes=voc21"]).evaluate.classes == "voc21"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes: {cat: [8]}\n", "must hold the keys background and classes, got classes"),
        ("- 1\n", "must hold the keys background and classes, got list"),
        ("background: sky\nclasses: {cat: [8]}\n", "background in .* must be one of its classes or null, got 'sky'; classes: cat"),
        ("background: null\nclasses: {cat: 8}\n", "classes in .* must be a mapping of names to lists of whole numbers"),
        ("background: [cat\n", "is not YAML"),
        ("background: null\nclasses: {cat: [8], cat: [9]}\n", "is written twice"),
    ],
)
def test_what_is_no_description_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        find_classes(str(path), key="evaluate.classes")


def test_a_name_that_is_none_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="evaluate.classes must be a mapping, .* or one of camvid11, .*got 'voc_animal'; did you mean 'voc_animals'"):
        find_classes("voc_animal", key="evaluate.classes")
