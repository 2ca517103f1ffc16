"""The C++ operators on an ARM processor (NEON), which an emulator plays here: the same numbers as on this machine.

Needs a cross compiler and QEMU's user mode; on Debian and Ubuntu: apt install g++-aarch64-linux-gnu qemu-user.
"""

import shutil
import subprocess
from pathlib import Path

import numpy
import pytest

from mcdist.ops import native

OPS = Path(native.__file__).parent
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def results(compiler: str, *start: str, folder: Path) -> numpy.ndarray:
    """What the program prints: the bytes of a vector, then all numbers."""
    program = folder / Path(compiler).name
    sources = [Path(__file__).with_name("other_processor.cpp"), *(OPS / name for name in native.SOURCES)]
    flags = ["-O2", "-std=c++17", "-fopenmp", "-fno-math-errno", "-Wno-psabi", "-static"]
    subprocess.run([compiler, *flags, *map(str, sources), "-o", str(program)], check=True, timeout=300)
    done = subprocess.run([*start, str(program)], capture_output=True, text=True, timeout=300, check=True)
    return numpy.array([float(line) for line in done.stdout.split()])


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which(CROSS_COMPILER) and shutil.which(EMULATOR)), reason="apt install g++-aarch64-linux-gnu qemu-user")
def test_neon_gives_the_numbers_of_this_machine(tmp_path: Path) -> None:
    here, there = results(native._compiler(), folder=tmp_path), results(CROSS_COMPILER, EMULATOR, folder=tmp_path)
    assert there[0] == 16, "vectors of NEON"
    assert here[2] == there[2] > 0 and numpy.isfinite(here).all()
    numpy.testing.assert_allclose(there[1:], here[1:], rtol=2e-5, atol=2e-5)
