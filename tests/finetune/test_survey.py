"""What labels show is known before anything is trained."""

import numpy
import pytest

from mcdist.data.pictures.png import encode_map
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.errors import DataError, ShardError
from mcdist.finetune.survey import survey_labels
from tests.finetune.tiny_network import WORLD
from tests.makers.tiny_shards import draw_members

CLASS_OF_ID = numpy.full(256, 255, dtype=numpy.uint8)
CLASS_OF_ID[:3] = (0, 1, 2)


def surveyed(folder, *, num_photos=4, class_of_id=CLASS_OF_ID):
    progress: list[int] = []
    reader = WebDatasetReader(folder)
    survey = survey_labels(reader, num_photos=num_photos, class_of_id=class_of_id, num_workers=0, world=WORLD, on_progress=progress.append)
    assert sum(progress) == num_photos
    return survey


def labelled(values):
    """Members of a sample whose ground truth has these ids, in equal bands."""

    def members(index):
        rows = numpy.repeat(numpy.array(values[index], dtype=numpy.uint8), 40 // len(values[index]))
        return {**draw_members(index), "seg.png": encode_map(numpy.tile(rows[:, None], (1, 52)))}

    return members


def test_unknown_ids_unlabelled_photos_and_absent_classes_are_found(make_shards):
    survey = surveyed(make_shards(4, members_of=labelled([[0, 1], [0, 9], [255, 9], [255, 255]])))
    assert survey.labelled == [0, 1]
    assert survey.unknown_ids == {9: 2 * 20 * 52}
    assert survey.absent([0, 1], num_classes=3) == [2] and survey.absent([1], num_classes=3) == [1, 2]
    assert survey.pixels.sum() == 4 * 40 * 52


def test_shards_without_a_label_of_any_class_are_refused(make_shards):
    with pytest.raises(DataError, match="none of the 2 photos of .* has a pixel of a class: its ids are 9, 255"):
        surveyed(make_shards(2, members_of=labelled([[9, 255], [9, 255]])), num_photos=2)


def test_a_photo_without_ground_truth_or_with_a_damaged_one_is_an_error(make_shards):
    def without(index):
        return {name: content for name, content in draw_members(index).items() if name != "seg.png" or index != 1}

    with pytest.raises(ShardError):
        surveyed(make_shards(2, members_of=without), num_photos=2)


def test_a_damaged_map_is_an_error(make_shards):
    with pytest.raises(ShardError, match="the ground truth is neither JPEG nor PNG"):
        surveyed(make_shards(2, members_of=lambda index: {**draw_members(index), "seg.png": b"no png"}), num_photos=2)
