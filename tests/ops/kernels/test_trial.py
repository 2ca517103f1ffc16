"""The trial finds every planted fault in the fused operators, and none where there is none."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mcdist.ops import trial
from mcdist.ops.trial import Comparison, Trial
from tests.ops.kernels.planted import CONTRAST_FAULTS, POOL_FAULTS, planted

CPU = torch.device("cpu")


def test_right_operators_agree_in_every_dtype_and_quantity() -> None:
    found = Trial().run(CPU)
    assert [str(comparison) for comparison in found if not comparison.holds] == []
    assert {comparison.dtype for comparison in found} == {"float32", "bfloat16", "float16"}
    assert {comparison.quantity for comparison in found} == {"loss", "correct", "gradient", "pooled rows", "pixel counts"}
    assert {comparison.operator for comparison in found} == {"mask_contrast", "mask_contrast with exclusions by target", "mask_pool"}


@pytest.mark.parametrize(("fault", "said"), [*CONTRAST_FAULTS.items(), *POOL_FAULTS.items()])
def test_a_planted_fault_is_found_and_named(fault: str, said: str) -> None:
    failed = [str(comparison) for comparison in planted(fault).run(CPU) if not comparison.holds]
    assert failed
    assert said in failed[0]


def test_the_operators_on_trial_are_right_where_no_fault_is_planted() -> None:
    found = planted("").run(CPU)
    assert len(found) == 27 and [str(comparison) for comparison in found if not comparison.holds] == []


def test_the_first_error_ends_the_trial() -> None:
    calls = []

    def broken(features: torch.Tensor, *operands: Any) -> tuple[torch.Tensor, ...]:
        calls.append(operands[7])
        return Trial().contrast(features, *operands) if len(calls) < 2 else (_ for _ in ()).throw(RuntimeError("an illegal memory access was encountered"))

    found = Trial(contrast=broken).run(CPU)
    assert calls == [False, True]
    assert [comparison.error for comparison in found] == ["RuntimeError: an illegal memory access was encountered"]


def test_the_trial_works_without_gradients_and_under_autocast() -> None:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = Trial().run(CPU)
    assert len(found) == 27 and [str(comparison) for comparison in found if not comparison.holds] == []


def test_nan_never_holds() -> None:
    assert not Comparison("mask_pool", "float32", "gradient", float("nan"), 1.0).holds
    assert not Comparison("mask_pool", "float32", "gradient", 0.0, float("nan")).holds


def test_the_program_prints_the_comparisons() -> None:
    program = [sys.executable, "-m", "mcdist.ops.trial"]
    done = subprocess.run([*program, "cpu"], capture_output=True, text=True, timeout=200, check=True)
    rows = json.loads(done.stdout)
    assert len(rows) == 27
    assert all(Comparison(**row).holds for row in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_program_says_that_a_device_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert trial.main("cuda:0") == trial.UNREACHABLE
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_real_kernels_pass_the_trial_in_every_dtype(call: Callable[..., Any]) -> None:
    """Through Triton's interpreter, on CPU tensors."""
    assert call("failed_comparisons", wrong=False, only_float32=False) == []


@pytest.mark.slow
def test_a_changed_kernel_does_not_pass(call: Callable[..., Any]) -> None:
    failed = call("failed_comparisons", wrong=True, only_float32=True)
    for quantity in ("loss", "gradient"):
        assert any(said.startswith(f"mask_contrast in float32: {quantity} differs by") for said in failed)
