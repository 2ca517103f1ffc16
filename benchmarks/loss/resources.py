"""What each kernel costs on a GPU that is not here: compiled ahead of time for an architecture, its machine code read, its occupancy computed.

Registers, shared memory and spills are those of the machine code (cubin); the limits of the architectures are those of the CUDA C++ programming
guide's table of technical specifications. A kernel that spills or crowds a multiprocessor is seen before a GPU is.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from mcdist.errors import ConfigError
from mcdist.ops import triton_cells
from mcdist.ops.mask_contrast import kernel as contrast
from mcdist.ops.mask_pool import kernel as pool

ARCHITECTURES = (80, 90, 100)
"""A100, H100 and H200, B100 and B200."""

TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

POINTERS = {
    **dict.fromkeys(["candidates", "weight", "loss", "numbers", "corners", "shares", "sums", "dsums", "out"], "fp32"),
    **dict.fromkeys(["targets", "rows", "cells", "slot_of_cell", "label", "correct", "counts", "present", "num_pixels"], "i32"),
    "first_slot": "i64",
}
"""What the kernels' arguments point at; those not here are `features`, `excluded` and plain 32-bit numbers."""

REGISTERS_PER_MULTIPROCESSOR = 65_536
WARPS_PER_MULTIPROCESSOR = 64
BLOCKS_PER_MULTIPROCESSOR = 32
SHARED_BYTES_PER_MULTIPROCESSOR = {80: 164 * 1024, 90: 228 * 1024, 100: 228 * 1024}
SHARED_BYTES_PER_BLOCK = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
SHARED_BYTES_OF_THE_SYSTEM = 1024
"""Taken from every block."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the operators, for which all their kernels are compiled. `by_target`: pixels see different candidates."""

    architecture: int
    D: int
    stride: int
    dtype: torch.dtype = torch.float32
    by_target: bool = False


@dataclass(frozen=True, slots=True)
class KernelResources:
    """What one kernel takes at one point; `spills` counts the instructions on local memory."""

    kernel: str
    architecture: int
    D: int
    stride: int
    dtype: str
    by_target: bool
    num_warps: int
    registers: int
    spills: int
    shared_bytes: int
    occupancy_percent: float


def compile_kernels(point: Point) -> Iterator[KernelResources]:
    """All kernels of both operators at `point`.

    Raises:
        ConfigError: Triton interprets in this process and compiles nothing.
    """
    for name, kernel, tiles, constants in _launches(point):
        if not isinstance(kernel, JITFunction):
            raise ConfigError("kernels must be compiled, but Triton interprets them in this process; unset TRITON_INTERPRET before triton is imported")
        yield _compiled(name, kernel, tiles, {"D": point.D, "STRIDE": point.stride, "BY_TARGET": point.by_target, **constants}, point)


def occupancy_percent(*, architecture: int, registers: int, shared_bytes: int, num_warps: int) -> float:
    """Warps of a multiprocessor that can be there at once, of the most there can be. 0: not even one block fits."""
    registers_of_warp = -(-registers * 32 // 256) * 256
    warps_by_registers = REGISTERS_PER_MULTIPROCESSOR // registers_of_warp // 4 * 4
    shared = -(-(shared_bytes + SHARED_BYTES_OF_THE_SYSTEM) // 128) * 128
    fits = shared_bytes <= SHARED_BYTES_PER_BLOCK[architecture]
    blocks_by_shared = SHARED_BYTES_PER_MULTIPROCESSOR[architecture] // shared if fits else 0
    blocks = min(warps_by_registers // num_warps, blocks_by_shared, WARPS_PER_MULTIPROCESSOR // num_warps, BLOCKS_PER_MULTIPROCESSOR)
    return 100 * blocks * num_warps / WARPS_PER_MULTIPROCESSOR


def _launches(point: Point) -> list[tuple[str, Any, triton_cells.Tiles, dict[str, Any]]]:
    D, stride, by_target = point.D, point.stride, point.by_target
    statistics = contrast.statistics_tiles(stride=stride, D=D, by_target=by_target, capability=point.architecture)
    gradient = contrast.gradient_tiles(stride=stride, D=D, by_target=by_target, capability=point.architecture)
    shares = pool.share_tiles(stride=stride)
    blocks = triton.cdiv(stride**2, shares.constants["ROWS"] * shares.constants["LANES"])
    fold = triton_cells.Tiles(constants={"BLOCK_D": triton_cells.fold_block(D), "POSITIONS": triton_cells.FOLD_POSITIONS}, options={"num_warps": 4})
    contrast_launches: list[tuple[str, Any, triton_cells.Tiles, dict[str, Any]]] = [
        ("contrast statistics", contrast._pixel_statistics, statistics, {"WANT_GRADIENT": True, "PRECISION": contrast.PRECISION}),
        ("contrast gradient", contrast._corner_gradient, gradient, {"PRECISION": contrast.PRECISION}),
    ]
    if by_target:
        return contrast_launches  # the other kernels do not know of it
    return [
        *contrast_launches,
        ("pool shares", pool._corner_shares, shares, {}),
        ("pool sums", pool._sum_rows, pool.sum_tiles(D=D), {"BLOCKS": blocks}),
        ("pool gradient", pool._corner_gradient, pool.pool_gradient_tiles(stride=stride, D=D), {}),
        ("fold", triton_cells._fold, fold, {}),
    ]


def _compiled(name: str, kernel: JITFunction, tiles: triton_cells.Tiles, constants: dict[str, Any], point: Point) -> KernelResources:
    constants = {key: value for key, value in {**constants, **tiles.constants}.items() if key in kernel.arg_names}
    types = {argument: "constexpr" if argument in constants else _type_of(argument, point) for argument in kernel.arg_names}
    places = {argument: (place,) for place, argument in enumerate(kernel.arg_names)}
    source = ASTSource(
        fn=kernel,
        signature=types,
        constexprs={places[argument]: value for argument, value in constants.items()},
        # torch allocates at multiples of 16 bytes
        attrs={places[argument]: [["tt.divisibility", 16]] for argument, kind in types.items() if kind.startswith("*")},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", point.architecture, 32), options=tiles.options)
    registers, spills = _read_machine_code(compiled.asm["cubin"])
    used = {"registers": registers, "shared_bytes": int(compiled.metadata.shared), "num_warps": int(compiled.metadata.num_warps)}
    return KernelResources(
        kernel=name,
        architecture=point.architecture,
        D=point.D,
        stride=point.stride,
        dtype=TYPES[point.dtype],
        by_target=point.by_target,
        num_warps=used["num_warps"],
        registers=registers,
        spills=spills,
        shared_bytes=used["shared_bytes"],
        occupancy_percent=occupancy_percent(architecture=point.architecture, **used),
    )


def _type_of(argument: str, point: Point) -> str:
    if argument == "features":
        return f"*{TYPES[point.dtype]}"
    if argument == "excluded":
        return "*i64" if point.by_target else "*fp32"
    return f"*{POINTERS[argument]}" if argument in POINTERS else "i32"


def _read_machine_code(cubin: bytes) -> tuple[int, int]:
    """(registers of a thread, instructions on local memory)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", "-sass", os.fspath(path)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    registers = re.search(r"REG:(\d+)", text)
    assert registers, text[:500]
    return int(registers[1]), len(re.findall(r"\b(?:LDL|STL)\b", text))
