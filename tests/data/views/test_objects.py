import torch
from hypothesis import given
from hypothesis import strategies as st

from mcdist.data.views.objects import keep_largest
from mcdist.types import VOID


def kept_of(instances: torch.Tensor, *, max_objects: int) -> tuple[torch.Tensor, int]:
    """The map after it, and how many objects became void."""
    stored = instances.to(torch.uint8).numpy()
    numbering = keep_largest(stored, max_objects=max_objects)
    return torch.from_numpy(numbering.apply(stored)), numbering.num_dropped


def test_of_too_many_objects_the_largest_stay_and_the_others_become_void():
    instances = torch.tensor([[1, 2, 2, 2], [3, 3, 0, VOID], [8, 8, 8, 8]], dtype=torch.int16)
    kept, num_dropped = kept_of(instances, max_objects=2)
    assert kept.tolist() == [[VOID, 1, 1, 1], [VOID, VOID, 0, VOID], [2, 2, 2, 2]]
    assert num_dropped == 2


def test_of_two_equally_large_objects_the_lower_id_stays():
    kept, num_dropped = kept_of(torch.tensor([[5, 5, 2, 2]]), max_objects=1)
    assert kept.tolist() == [[VOID, VOID, 1, 1]]
    assert num_dropped == 1


@given(st.lists(st.integers(-1, 254), min_size=1, max_size=60), st.integers(1, 10))
def test_kept_objects_are_numbered_without_gaps(values, max_objects):
    instances = torch.tensor([values], dtype=torch.int16)
    kept, num_dropped = kept_of(instances, max_objects=max_objects)
    ids, stored = sorted(set(kept[kept > 0].tolist())), set(instances[instances > 0].tolist())
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) + num_dropped == len(stored)
    assert torch.equal(kept == 0, instances == 0)


def test_more_objects_than_a_signed_byte_counts_keep_their_numbers():
    instances = torch.arange(255)[None]
    kept, num_dropped = kept_of(instances, max_objects=254)
    assert torch.equal(kept, instances.to(torch.int16))
    assert num_dropped == 0


def test_a_map_of_void_stays_void():
    kept, num_dropped = kept_of(torch.full((2, 3), VOID), max_objects=2)
    assert (kept == VOID).all()
    assert num_dropped == 0
