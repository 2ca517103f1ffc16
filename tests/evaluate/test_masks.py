import numpy
import torch

from mcdist.evaluate.masks import component_objects, photo_objects, resize_nearest


def test_one_object_a_photo_is_where_the_logit_is_above_a_half() -> None:
    saliency = torch.tensor([[[0.4, 0.6], [0.5, 3.0]]])
    assert photo_objects(saliency).tolist() == [[[0, 1], [0, 1]]]


def test_components_are_numbered_and_small_ones_dropped_and_counted() -> None:
    saliency = torch.full((2, 10, 10), -1.0)
    saliency[0, :3, :3] = 1.0
    saliency[0, 5, 5] = 1.0
    saliency[0, 6:10, 7:10] = 1.0
    objects, num_dropped = component_objects(saliency, area_min=0.05)
    assert num_dropped == 1
    assert objects.unique().tolist() == [0, 1, 2]
    assert (objects[0] == 1).sum() == 9
    assert (objects[0] == 2).sum() == 12
    assert not objects[1].any()


def test_nearest_takes_the_value_under_each_pixels_centre() -> None:
    values = numpy.arange(12).reshape(3, 4)
    assert resize_nearest(values, height=6, width=8).tolist() == values.repeat(2, axis=0).repeat(2, axis=1).tolist()
    assert resize_nearest(values, height=1, width=2).tolist() == [[5, 7]]
    assert resize_nearest(values, height=3, width=4).tolist() == values.tolist()
