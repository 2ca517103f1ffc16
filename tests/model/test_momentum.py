import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mcdist.choices import MomentumBuffers
from mcdist.model.momentum import follow


def make_pair() -> tuple[nn.Module, nn.Module]:
    """(key, query) of two layers with running statistics and batch counters, apart in every parameter and buffer."""
    query = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    key = copy.deepcopy(query).requires_grad_(False)
    for parameter in query.parameters():
        parameter.data += torch.randn_like(parameter)
    query(torch.randn(2, 3, 8, 8))
    return key, query


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.999, 1.0])
def test_the_key_follows_the_query_by_the_momentum(momentum: float) -> None:
    key, query = make_pair()
    before = [parameter.clone() for parameter in key.parameters()]
    follow(key, query=query, momentum=momentum, buffers="own")
    for old, now, lead in zip(before, key.parameters(), query.parameters(), strict=True):
        torch.testing.assert_close(now, momentum * old + (1 - momentum) * lead)


@pytest.mark.parametrize("buffers", ["own", "copy"])
def test_running_statistics_and_batch_counters_follow_only_where_asked(buffers: MomentumBuffers) -> None:
    key, query = make_pair()
    own = [buffer.clone() for buffer in key.buffers()]
    assert {buffer.dtype for buffer in own} == {torch.float32, torch.int64}
    assert not any(torch.equal(mine, theirs) for mine, theirs in zip(own, query.buffers(), strict=True))
    follow(key, query=query, momentum=0.9, buffers=buffers)
    expected = query.buffers() if buffers == "copy" else own
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(key.buffers(), expected, strict=True))


def test_the_query_and_the_places_in_memory_stay_as_they_are() -> None:
    key, query = make_pair()
    query_before = copy.deepcopy(query.state_dict())
    places = [tensor.data_ptr() for tensor in key.state_dict().values()]
    follow(key, query=query, momentum=0.5, buffers="copy")
    assert all(torch.equal(tensor, query_before[name]) for name, tensor in query.state_dict().items())
    assert [tensor.data_ptr() for tensor in key.state_dict().values()] == places, "a captured CUDA graph reads the old places"
    assert not any(parameter.requires_grad for parameter in key.parameters())


def test_modules_without_buffers_have_nothing_to_copy() -> None:
    key, query = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    follow(key, query=query, momentum=0.0, buffers="copy")
    torch.testing.assert_close(key.weight, query.weight)


class _Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Tensor:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_any_number_of_tensors_takes_three_calls() -> None:
    key, query = make_pair()
    with _Calls() as calls:
        follow(key, query=query, momentum=0.9, buffers="copy")
    assert [name for name in calls.names if name != "detach"] == ["_foreach_lerp_", "_foreach_copy_", "_foreach_copy_"]


def test_what_does_not_train_is_left_alone() -> None:
    key, query = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    query.weight.requires_grad_(False)
    before = key.weight.clone()
    follow(key, query=query, momentum=0.5, buffers="own")
    torch.testing.assert_close(key.weight, before, rtol=0, atol=0)
    follow(nn.Linear(2, 2), query=nn.Linear(2, 2).requires_grad_(False), momentum=0.5, buffers="own")
