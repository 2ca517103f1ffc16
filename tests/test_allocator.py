"""In processes of their own: the setting stays for the life of a process."""

import subprocess
import sys

import pytest

HOLES = """
import ctypes, gc, sys
import torch
from mcdist.allocator import return_freed_tensors

def resident_mib():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024

assert not sys.argv[1:] or return_freed_tensors()
del_first = torch.ones(30 * 2**18)
del del_first  # 30 MiB: glibc's own rule now keeps blocks of this size
before = resident_mib()
kept, freed = [], []
for _ in range(20):
    freed.append(torch.ones(16 * 2**18))
    kept.append(torch.ones(2**10))
freed.clear()
gc.collect()
print(resident_mib() - before)
"""


def grown_mib(*arguments: str) -> float:
    done = subprocess.run([sys.executable, "-c", HOLES, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_tensors_between_kept_ones_go_back_to_the_system():
    assert grown_mib() > 100  # 320 MiB freed, and kept by the process: else there is nothing to test here
    assert grown_mib("set") < 30
