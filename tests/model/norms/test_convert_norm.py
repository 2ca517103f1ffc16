"""A norm setting that finds nothing to convert is an error, not silence."""

import pytest
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from mcdist.choices import Norm
from mcdist.errors import ConfigError
from mcdist.model.norms.convert import convert_norm, moving_buffers, replace_norms


@pytest.mark.parametrize("kind", ["sync", "shuffled", "group", "frozen"])
def test_a_kind_that_finds_no_batch_norm_is_refused(kind: Norm) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm(4))
    with pytest.raises(ConfigError, match=rf"^model.norm={kind} needs a network with BatchNorm layers, but this one has none; use model.norm=batch"):
        convert_norm(network, kind=kind)


def test_the_default_finds_nothing_to_do_and_says_nothing() -> None:
    convert_norm(nn.Sequential(nn.LayerNorm(4)), kind="batch")


def test_every_batch_norm_is_found_at_any_depth() -> None:
    network = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), nn.LayerNorm(4))
    assert replace_norms(network, kind="frozen") == 2
    assert [isinstance(module, FrozenBatchNorm2d) for module in (network[0], network.get_submodule("1.1"), network[2])] == [True, True, False]


def test_a_frozen_norm_has_no_buffer_that_moves() -> None:
    module = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(FrozenBatchNorm2d(2)))
    assert [id(buffer) for buffer in moving_buffers(module)] == [id(buffer) for buffer in module[0].buffers()]
