"""Neighbour strips: one picture an object, its neighbours before and after training in two rows."""

import io
from pathlib import Path

import numpy
from PIL import Image

from mcdist.report.pictures.neighbours import ShownNeighbours, neighbour_files, neighbour_strip, save_neighbours

RED, GREEN, BLUE = (numpy.full((40, 60, 3), colour, dtype=numpy.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
BOX = (0.25, 0.25, 0.75, 0.75)


def shown(num: int = 5) -> ShownNeighbours:
    return ShownNeighbours((RED, BOX), before=[(GREEN, BOX)] * num, after=[(BLUE, BOX)] * num)


def test_before_is_above_after_and_the_object_is_on_the_left() -> None:
    picture = numpy.asarray(Image.open(io.BytesIO(neighbour_strip(shown()))))
    height, width = picture.shape[:2]
    assert picture[height // 2, 60, :3].tolist() == [255, 0, 0]
    assert picture[height // 4, width - 30, :3].tolist() == [0, 255, 0]
    assert picture[height - 30, width - 30, :3].tolist() == [0, 0, 255]
    assert picture[2, width - 2, 3] == 0  # transparent between


def test_an_object_without_neighbours_is_shown_alone() -> None:
    assert Image.open(io.BytesIO(neighbour_strip(shown(0)))).width > 250


def test_a_new_evaluation_removes_the_strips_of_the_old_one(tmp_path: Path) -> None:
    assert save_neighbours([], tmp_path / "neighbours") == [] and not (tmp_path / "neighbours").exists()
    save_neighbours([shown(), shown(2)], tmp_path / "neighbours")
    assert [path.name for path in neighbour_files(tmp_path / "neighbours")] == ["object_001.png", "object_002.png"]
    save_neighbours(iter([shown()]), tmp_path / "neighbours")
    assert [path.name for path in neighbour_files(tmp_path / "neighbours")] == ["object_001.png"]
