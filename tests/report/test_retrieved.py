"""Retrieved strips: an object and its nearest ones, right and wrong told apart by colour and by sign."""

import io
from pathlib import Path

import numpy
import pytest
from PIL import Image

from mcdist.errors import DataError
from mcdist.report.palette import rgb
from mcdist.report.pictures.retrieved import RIGHT, WRONG, ShownRetrieved, retrieved_strip, retrieved_strips, save_retrieved

GREY = numpy.full((40, 60, 3), 90, dtype=numpy.uint8), (0.25, 0.25, 0.75, 0.75)


def shown(*names: str) -> ShownRetrieved:
    return ShownRetrieved(GREY, "cat", [(GREY, name) for name in names])


def pixels(one: ShownRetrieved) -> numpy.ndarray:
    return numpy.asarray(Image.open(io.BytesIO(retrieved_strip(one))))[..., :3]


def sign_at(picture: numpy.ndarray, *, left: int) -> numpy.ndarray:
    """Where the corner is white."""
    white: numpy.ndarray = numpy.all(picture[-26:, left : left + 26] == 255, axis=-1)
    return white


def test_right_and_wrong_differ_by_frame_and_by_sign() -> None:
    picture = pixels(shown("cat", "dog"))
    width = picture.shape[1]
    assert picture[-2, width - 60].tolist() == list(rgb(WRONG)) and picture[-2, width - 60 - 124].tolist() == list(rgb(RIGHT))
    wrong, right = sign_at(picture, left=width - 26), sign_at(picture, left=width - 26 - 124)
    assert right.sum() > 40 and wrong.sum() > 40
    assert (right != wrong).sum() > 60, "a tick is no cross, in grey too"
    assert wrong[13, 13] and not right[8, 8]


def test_a_long_name_stays_above_its_own_picture() -> None:
    short, long = (numpy.asarray(Image.open(io.BytesIO(retrieved_strip(shown("cat", name)))))[:20, :, 3] for name in ("a", "w" * 80))
    assert long[:, -116:].any(axis=0).sum() > short[:, -116:].any(axis=0).sum()
    assert (long[:, :-124] == short[:, :-124]).all()


def test_an_object_alone_is_shown() -> None:
    assert pixels(shown()).shape[0] > 116


def test_strips_keep_their_classes_and_replace_those_of_before(tmp_path: Path) -> None:
    folder = tmp_path / "retrieved"
    assert save_retrieved([], folder) == [] and not folder.exists() and retrieved_strips(folder) == []
    save_retrieved([shown("cat", "dog"), shown("cow")], folder)
    found = retrieved_strips(folder)
    assert [(one.path.name, one.true_class, one.nearest) for one in found] == [("object_001.png", "cat", ("cat", "dog")), ("object_002.png", "cat", ("cow",))]
    save_retrieved(iter([shown("dog")]), folder)
    assert [one.nearest for one in retrieved_strips(folder)] == [("dog",)] and not (folder / "object_002.png").exists()
    save_retrieved([], folder)
    assert retrieved_strips(folder) == []


@pytest.mark.parametrize("content", ["[]", "{", '{"object_001.png": []}', '{"object_001.png": 3}'])
def test_damaged_classes_are_one_sentence(tmp_path: Path, content: str) -> None:
    save_retrieved([shown("cat")], tmp_path)
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(DataError, match="does not hold the classes of retrieved objects .* run: mcdist evaluate RUN"):
        retrieved_strips(tmp_path)


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"")
    folder = tmp_path / "retrieved"
    save_retrieved([shown("cat")], folder)
    (folder / "classes.json").write_text('{"../secret.png": ["cat"]}')
    assert retrieved_strips(folder) == []
