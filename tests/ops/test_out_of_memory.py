"""The C++ operators report that memory ran out, whichever allocation fails: no exception leaves a thread, which would end the process."""

import subprocess
from pathlib import Path

from mcdist.ops import native

OPS = Path(native.__file__).parent


def test_whichever_allocation_fails_the_operators_return_a_code(tmp_path: Path) -> None:
    program = tmp_path / "out_of_memory"
    sources = [Path(__file__).with_name("out_of_memory.cpp"), *(OPS / name for name in native.SOURCES)]
    subprocess.run([native._compiler(), "-O1", "-std=c++17", "-fopenmp", "-Wno-psabi", *map(str, sources), "-o", str(program)], check=True, timeout=200)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    failed = {name: int(number) for name, _, number in (line.rpartition(" ") for line in done.stdout.splitlines())}
    assert failed.keys() == {"pool", "pool backward", "contrast"}
    assert min(failed.values()) > 10, "the allocations inside the threads were reached"
