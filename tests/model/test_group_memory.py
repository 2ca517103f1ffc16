"""The memory of groups against a loop, object by object."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mcdist.model.group_memory import GroupMemory, group_members

NUM_GROUPS = (3, 2)


@given(seed=st.integers(0, 10_000), num_steps=st.integers(1, 4), momentum=st.sampled_from([0.0, 0.5, 0.9]))
def test_each_group_follows_the_mean_of_its_own_valid_prototypes(seed: int, num_steps: int, momentum: float) -> None:
    torch.manual_seed(seed)
    memory = GroupMemory(NUM_GROUPS, dim=4, momentum=momentum)
    want: dict[int, torch.Tensor] = {}
    for _ in range(num_steps):
        prototypes, valid = F.normalize(torch.randn(6, 4), dim=1), torch.rand(6) < 0.7
        group_of = torch.stack([torch.randint(-1, num, (6,)) for num in NUM_GROUPS], dim=1)
        prototypes[~valid] = torch.nan
        memory.follow(prototypes, group_of_PS=group_of, valid=valid)
        for place, first in ((0, 0), (1, NUM_GROUPS[0])):
            for group in range(NUM_GROUPS[place]):
                rows = prototypes[valid & (group_of[:, place] == group)]
                if len(rows):
                    mean = F.normalize(rows.sum(0), dim=0)
                    old = want.get(first + group)
                    want[first + group] = mean if old is None else F.normalize(momentum * old + (1 - momentum) * mean, dim=0)
    assert memory.known.nonzero().flatten().tolist() == sorted(want)
    for row, vector in want.items():
        torch.testing.assert_close(memory.prototypes[row], vector, rtol=1e-4, atol=1e-5)
    assert not memory.prototypes[~memory.known].any()


def test_members_of_several_sets_lie_end_to_end() -> None:
    members = group_members(torch.tensor([[2, 0], [-1, 1]]), num_groups=NUM_GROUPS)
    assert members.int().tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
