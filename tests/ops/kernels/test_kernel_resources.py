"""The Triton kernels compile for GPUs that are not here, spill nothing and take no more of them than is on record."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcdist.errors import ConfigError
from tests.ops.kernels.triton_process import triton_process

RECORD = json.loads(Path(__file__).with_name("kernel_resources.json").read_text())
"""Written by benchmarks/loss/kernels.py."""

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}

Row = dict[str, Any]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    pytest.importorskip("triton")
    with triton_process(interpret=False, check_shapes=bool(request.config.getoption("jaxtyping_packages"))) as call:
        yield call


def point_of(row: Row) -> Row:
    return {name: row[name] for name in ("architecture", "D", "stride", "by_target")} | {"dtype": DTYPES[row["dtype"]]}


def place_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("kernel", "architecture", "D", "stride", "dtype", "by_target"))


def take_no_more_than_recorded(call: Call, points: list[Row]) -> None:
    triton = pytest.importorskip("triton")
    bounds = {place_of(row): row for row in RECORD["rows"]}
    rows = call("resources", points=points)
    assert rows
    for row in rows:
        assert row["spills"] == 0, row
        assert row["occupancy_percent"] > 0, row
        if triton.__version__ == RECORD["triton"]:  # another compiler allocates registers differently
            assert row["registers"] <= bounds[place_of(row)]["registers"], row
            assert row["shared_bytes"] <= bounds[place_of(row)]["shared_bytes"], row


@pytest.mark.parametrize("architecture", [90, *(pytest.param(other, marks=pytest.mark.slow) for other in (80, 100))])
def test_no_kernel_spills_or_grows_at_the_default_setting(call: Call, architecture: int) -> None:
    take_no_more_than_recorded(call, [{"architecture": architecture, "D": 32, "stride": 8, "dtype": "float32", "by_target": False}])


def test_no_kernel_spills_or_grows_with_exclusions_by_target_and_with_bfloat16(call: Call) -> None:
    point = {"architecture": 90, "D": 32, "stride": 8}
    take_no_more_than_recorded(call, [point | {"dtype": "float32", "by_target": True}, point | {"dtype": "bfloat16", "by_target": False}])


@pytest.mark.slow
def test_no_kernel_spills_or_grows_at_any_recorded_setting(call: Call) -> None:
    points = {json.dumps(point_of(row)): point_of(row) for row in RECORD["rows"]}
    take_no_more_than_recorded(call, list(points.values()))


def test_the_record_spills_nothing() -> None:
    assert [row for row in RECORD["rows"] if row["spills"]] == []
    assert {row["architecture"] for row in RECORD["rows"]} == {80, 90, 100}


@pytest.mark.parametrize(
    ("architecture", "registers", "shared_bytes", "num_warps", "expected"),
    [
        (80, 32, 0, 4, 100),
        (90, 64, 0, 4, 50),
        (90, 168, 5_120, 4, 18.75),  # three blocks of four warps: 168 x 32 x 12 registers fit, 16 warps' do not
        (90, 255, 0, 8, 12.5),
        (80, 32, 100 * 1024, 4, 6.25),  # a second block's shared memory does not fit
        (90, 32, 100 * 1024, 4, 12.5),
        (80, 32, 164 * 1024, 4, 0),
        (100, 16, 0, 1, 50),  # 32 blocks at most
    ],
)
def test_occupancy_is_what_the_limits_of_an_architecture_allow(
    call: Call, architecture: int, registers: int, shared_bytes: int, num_warps: int, expected: float
) -> None:
    settings = {"architecture": architecture, "registers": registers, "shared_bytes": shared_bytes, "num_warps": num_warps}
    assert call("occupancy", **settings) == expected


def test_the_compiler_is_told_from_the_interpreter() -> None:
    pytest.importorskip("triton")
    point = {"architecture": 90, "D": 32, "stride": 8, "dtype": "float32", "by_target": False}
    with triton_process(interpret=True, check_shapes=False) as call, pytest.raises(ConfigError, match="unset TRITON_INTERPRET"):
        call("resources", points=[point])
