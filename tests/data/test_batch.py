import pickle

import pytest
import torch

from mcdist.data.batch import Batch, collate
from mcdist.data.views.draw import Colour
from mcdist.data.views.two_views import TwoViews


def views(index: int, *, num_redrawn: int = 0, emptied: bool = False, num_dropped_objects: int = 0) -> TwoViews:
    image, instances = torch.full((3, 4, 4), 10 * index, dtype=torch.uint8), torch.full((4, 4), index, dtype=torch.int16)
    colours = (Colour((("hue", 0.1 * index),), grey=False), Colour((), grey=True))
    return TwoViews(index, image, image + 5, *colours, instances, instances + 1, num_redrawn, emptied, num_dropped_objects)


def test_photos_are_stacked_in_order_and_counts_added_up():
    batch = collate([views(4, num_redrawn=1, num_dropped_objects=3), views(2, num_redrawn=2, emptied=True), views(9)])
    assert batch.indices.tolist() == [4, 2, 9]
    assert batch.query_images.dtype == torch.uint8
    assert batch.query_images[:, 0, 0, 0].tolist() == [40, 20, 90]
    assert batch.key_images[:, 0, 0, 0].tolist() == [45, 25, 95]
    assert [colour.jitter for colour in batch.query_colours] == [(("hue", 0.1 * index),) for index in (4, 2, 9)]
    assert batch.key_colours == (Colour((), grey=True),) * 3
    assert batch.query_instances.dtype == torch.int16
    assert batch.query_instances[:, 0, 0].tolist() == [4, 2, 9]
    assert batch.key_instances[:, 0, 0].tolist() == [5, 3, 10]
    assert (batch.num_redrawn, batch.num_emptied, batch.num_dropped_objects) == (3, 1, 3)


@pytest.mark.parametrize("device", ["cpu", "meta"] + (["cuda"] if torch.cuda.is_available() else []))
def test_every_tensor_moves_and_every_count_stays(device):
    moved = collate([views(1, num_redrawn=2), views(2)]).to(torch.device(device), non_blocking=True)
    assert isinstance(moved, Batch)
    tensors = (moved.query_images, moved.key_images, moved.query_instances, moved.key_instances, moved.indices)
    assert {tensor.device.type for tensor in tensors} == {device}
    assert moved.num_redrawn == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a CUDA device")
def test_a_batch_can_be_pinned():
    assert collate([views(1)]).pin_memory().query_images.is_pinned()


def test_a_batch_can_travel_between_processes():
    batch = pickle.loads(pickle.dumps(collate([views(1)])))
    assert batch.indices.tolist() == [1]
