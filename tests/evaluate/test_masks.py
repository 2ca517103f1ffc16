import pytest
import torch

from mcdist.errors import ConfigError
from mcdist.evaluate.extract.masks import component_objects, photo_objects, predicted_objects
from tests.makers.unchecked import unchecked


def test_one_object_a_photo_is_where_the_logit_is_above_a_half() -> None:
    saliency = torch.tensor([[[0.4, 0.6], [0.5, 3.0]]])
    assert photo_objects(saliency, logit_min=0.5).tolist() == [[[0, 1], [0, 1]]]


def test_components_are_numbered_and_small_ones_dropped_and_counted_by_photo() -> None:
    saliency = torch.full((2, 10, 10), -1.0)
    saliency[0, :3, :3] = 1.0
    saliency[0, 5, 5] = 1.0
    saliency[0, 6:10, 7:10] = 1.0
    objects, num_dropped = component_objects(saliency, area_min=0.05, logit_min=0.5)
    assert num_dropped.tolist() == [1, 0]
    assert objects.unique().tolist() == [0, 1, 2]
    assert (objects[0] == 1).sum() == 9
    assert (objects[0] == 2).sum() == 12
    assert not objects[1].any()


def test_a_typo_in_the_choice_of_objects_is_refused() -> None:
    """Without the run-time type check of the tests, which would refuse it first."""
    with pytest.raises(ConfigError, match="^objects must be one of photo, components, got 'component'$"):
        unchecked(predicted_objects)(torch.zeros(1, 4, 4), objects="component", area_min=0.0, logit_min=0.5)
