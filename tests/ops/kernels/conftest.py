"""The process that interprets Triton's kernels, one for all files of this room: it imports torch and Triton once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ops.kernels.triton_process import triton_process


@pytest.fixture(scope="session")
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`call(task, **arguments)`: a task of `triton_tasks`, with every kernel interpreted on the CPU."""
    pytest.importorskip("triton")
    with triton_process(interpret=True, check_shapes=bool(request.config.getoption("jaxtyping_packages"))) as call:
        yield call
