"""Classifiers are counted at the photo's own size; a perfect one gets 100, and one that swaps two classes does not."""

from functools import partial

import numpy
import pytest
import torch

from mcdist.data.loader import read_sample
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.errors import DataError
from mcdist.evaluate.extract.photos import Photos
from mcdist.finetune.judge import best_of, judge_classifiers
from tests.finetune.tiny_network import WORLD, block_of, tiny_network

CLASS_OF_ID = numpy.full(256, 255, dtype=numpy.uint8)
CLASS_OF_ID[:3] = (0, 1, 2)


@pytest.fixture
def network():
    """Features are the colours themselves: the first is red, 40 a class of 255."""
    found = tiny_network()
    block = block_of(found)
    with torch.no_grad():
        block[0].weight.zero_()
        block[0].bias.zero_()
        block[0].weight[0, 0] = 1
    return found


def nearest_red(order):
    """A classifier of the class whose red is nearest: -(r - m)^2 up to what all classes share."""
    means = torch.tensor([40.0 * place / 255 for place in range(3)])[list(order)]
    return torch.stack([2 * means, *3 * [torch.zeros(3)], -(means**2)], dim=1) * 1000


def judged(network, classifiers, folder, **changes):
    options = dict(class_of_id=CLASS_OF_ID, size_px=104, batch=2, num_workers=0, world=WORLD, on_progress=lambda *_: None, should_stop=lambda: False)
    photos = Photos(partial(read_sample, WebDatasetReader(folder), with_segments=True), num_photos=3)
    return judge_classifiers(network, classifiers, photos=photos, **{**options, **changes})


def test_a_perfect_classifier_gets_100_and_swapped_classes_do_not(network, make_shards):
    folder = make_shards(3)
    right, swapped = judged(network, [nearest_red((0, 1, 2)), nearest_red((0, 2, 1))], folder)
    place, miou_percent = best_of([swapped, right])
    assert place == 1 and miou_percent[1] > 93 and miou_percent[0] < 40
    assert right.confusion.sum() == 3 * 40 * 52 == right.by_photo[..., 1].sum()
    alone = judged(network, [nearest_red((0, 1, 2))], folder, batch=3)[0]
    assert numpy.array_equal(alone.by_photo, right.by_photo)


def test_ids_that_are_no_class_count_nowhere(network, make_shards):
    class_of_id = CLASS_OF_ID.copy()
    class_of_id[2] = 255
    (found,) = judged(network, [nearest_red((0, 1, 2))], make_shards(3), class_of_id=class_of_id)
    assert found.confusion.sum() < 3 * 40 * 52 and found.confusion[:, 2].sum() == 0 and found.miou_percent(absent="left out") > 93


def test_a_wish_to_stop_ends_it_without_a_number(network, make_shards):
    assert judged(network, [nearest_red((0, 1, 2))], make_shards(3), should_stop=lambda: True) is None


def test_logits_that_are_not_finite_are_an_error(network, make_shards):
    with pytest.raises(DataError, match="logits that are not finite; fine-tune with a smaller --lr"):
        judged(network, [nearest_red((0, 1, 2)) * float("nan")], make_shards(3))
