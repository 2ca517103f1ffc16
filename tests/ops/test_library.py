"""The operators as torch sees them: schema, fake tensors, autograd, torch.compile, determinism."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcdist.choices import Implementation
from mcdist.ops import mask_pool
from mcdist.ops.mask_contrast.library import mask_contrast_op
from mcdist.ops.mask_pool.library import mask_pool_op
from mcdist.ops.targets import object_rows
from tests.ops.contrast_case import Case, make_case

FAST = pytest.mark.parametrize("implementation", ["compact", "fused"])


def op_arguments(case: Case, *, fused: bool) -> tuple:
    """What `mask_contrast` hands to the operator."""
    num_prototypes = len(case.prototypes)
    row_of = object_rows(case.options["target_of"], num_prototypes=num_prototypes)
    candidates = torch.cat([case.prototypes, case.bank])
    excluded = torch.zeros(1, len(candidates), dtype=torch.bool)
    weight = torch.ones(num_prototypes, dtype=candidates.dtype)
    return (case.features.clone().requires_grad_(), case.instances, row_of, candidates, excluded, weight, 0.5, 4, fused, True)


@FAST
def test_torch_finds_schema_autograd_and_shapes_sound(implementation: Implementation) -> None:
    fused = implementation == "fused"
    # autograd and tracing are tested below: torch's own checks of them warn about themselves
    checks = ("test_schema", "test_faketensor")
    case = make_case(60)
    torch.library.opcheck(mask_contrast_op, op_arguments(case, fused=fused), test_utils=checks)
    torch.library.opcheck(mask_pool_op, (case.features, case.instances, 3, 4, fused), test_utils=checks)


def test_compiled_operators_have_no_graph_break_and_the_same_gradient() -> None:
    # a process of its own: the run-time type check of the tests cannot be traced
    command = [sys.executable, "-m", "tests.ops.compiled_operators"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["reference", "compact", "fused", "auto"]


@FAST
@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_the_number_of_threads_changes_no_bit(implementation: Implementation, num_threads: int) -> None:
    case = make_case(62, B=3, h=9, w=7, D=20, num_bank=300).to(dtype=torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for number in (1, num_threads):
            torch.set_num_threads(number)
            features = case.features.clone().requires_grad_()
            pooled = mask_pool(features, case.instances, max_objects=3, implementation=implementation)
            results.append((*case.run(implementation=implementation), pooled.prototypes, *torch.autograd.grad(pooled.prototypes.sum(), features)))
    finally:
        torch.set_num_threads(before)
    if implementation == "compact" and num_threads > 1:
        for got, want in zip(*results, strict=True):  # torch's own products are cut by threads
            torch.testing.assert_close(got, want)
        return
    for got, want in zip(*results, strict=True):
        assert torch.equal(torch.as_tensor(got), torch.as_tensor(want))


@FAST
def test_a_gradient_is_made_only_where_one_is_wanted(implementation: Implementation) -> None:
    case = make_case(63)
    with torch.no_grad():
        *_, dfeatures = mask_contrast_op(*op_arguments(case, fused=implementation == "fused")[:9], False)
    assert not dfeatures.numel()


@FAST
def test_any_layout_of_the_features_gives_the_same(implementation: Implementation) -> None:
    case = make_case(64)
    plain = case.run(implementation=implementation)
    channels_last = Case(case.features.to(memory_format=torch.channels_last), case.instances.long(), case.prototypes, case.bank, case.options)
    for got, want in zip(channels_last.run(implementation=implementation), plain, strict=True):
        assert torch.equal(torch.as_tensor(got), torch.as_tensor(want))
