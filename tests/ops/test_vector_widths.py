"""The C++ operators at every width of vectors that this machine can run: equal results, and inner loops that keep their vectors whole."""

import ctypes
import platform
import shutil
from pathlib import Path

import pytest
import torch

from mcdist.choices import Implementation
from mcdist.ops import mask_pool, native
from mcdist.ops.tolerance import TOLERANCE, Tolerance
from tests.ops.contrast_case import Case, make_case
from tests.ops.machine_code import innermost_loops

OPS = Path(native.__file__).parent
WIDTHS = {
    "as this machine": (None, ()),
    "AVX2": (32, ("-mno-avx512f",)),
    "SSE": (16, ("-march=x86-64",)),
}
"""The bytes of a vector, and the flags that bring it about."""

SOME_VALID = torch.tensor([True, False, True, True, True, False, True, True])
CASES = {
    "fewer candidates than lanes": make_case(1),
    "whole vectors": make_case(2, num_bank=56, D=16),
    "a tail behind whole vectors": make_case(3, num_bank=301, D=20, h=4, w=5),
    "a tail of a half vector": make_case(4, num_bank=64, D=3),
    "rows that are not valid": make_case(5, prototype_valid=SOME_VALID, bank_valid_rows=20, num_bank=40),
    "exclusions by target": make_case(6, num_bank=75, false_negative_cosine=0.2),
    "a running maximum": make_case(7, num_bank=75, temperature=0.01),
    "a running maximum with exclusions by target": make_case(8, num_bank=75, temperature=0.01, false_negative_cosine=0.2),
}


@pytest.fixture(scope="module", params=WIDTHS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library at one width."""
    num_bytes, flags = WIDTHS[request.param]
    if flags and platform.machine() != "x86_64":
        pytest.skip("these flags are those of x86-64")
    if num_bytes == 32 and native.vector_bytes() < 32:
        pytest.skip("this machine has no AVX2")
    path = Path(native.library()._name)
    if flags or not path.is_file():  # a library that could not be kept in the user's cache is no file any more
        path = tmp_path_factory.mktemp("library") / "ops.so"
        native.build_library([OPS / name for name in native.SOURCES], path=path, flags=flags)
    assert ctypes.CDLL(str(path)).mcdist_vector_bytes() == (num_bytes or native.vector_bytes())
    return path


@pytest.fixture
def library(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators run on this library."""
    loaded = ctypes.CDLL(str(built))
    monkeypatch.setattr(native, "library", lambda: loaded)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_loss_and_its_gradient_are_those_of_the_reference(case: Case, dtype: torch.dtype) -> None:
    got, want = case.to(dtype=dtype).run(implementation="fused"), case.run(implementation="reference")
    times = 1 if case.options["temperature"] > 0.1 else 50
    bounds = Tolerance(rtol=times * TOLERANCE[dtype]["rtol"], atol=times * TOLERANCE[dtype]["atol"])
    torch.testing.assert_close(got[0].double(), want[0], **bounds)
    torch.testing.assert_close(got[3].double(), want[3], **bounds)
    assert got[1:3] == want[1:3]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("D", [1, 7, 8, 32, 33])
def test_pooled_rows_and_their_gradient_are_those_of_the_reference(D: int, dtype: torch.dtype) -> None:
    case = make_case(9, D=D, h=3, w=4)
    results = []
    ways: tuple[tuple[Implementation, torch.Tensor], ...] = (("fused", case.features.to(dtype)), ("reference", case.features))
    for implementation, features in ways:
        features.requires_grad_()
        pooled = mask_pool(features, case.instances, max_objects=3, implementation=implementation)
        (gradient,) = torch.autograd.grad(pooled.prototypes[:, 0].sum(), features)
        results.append((pooled.prototypes.detach().double(), gradient.double(), pooled.num_pixels))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, **TOLERANCE[dtype])


@pytest.mark.skipif(not shutil.which("objdump") or platform.machine() != "x86_64", reason="reads x86-64 machine code with objdump")
def test_the_loops_over_candidates_work_on_whole_vectors(built: Path) -> None:
    loops = [loop for loop in innermost_loops(built) if loop.takes_exponentials]
    assert len(loops) >= 6, "one and two pixels, with and without a mask, with a fixed shift and a running maximum"
    assert [loop.on_single_lanes for loop in loops if loop.on_single_lanes] == []
