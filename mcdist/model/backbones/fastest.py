"""Fastest: which of two ways to compute the same is faster on this machine, measured once a shape and then kept in the user's cache folder.

Which one wins depends on the processor, the build of oneDNN and the shape, by a factor of up to eight either way (docs/performance.md), so no rule is written
down here. A choice holds for every batch size and number of threads. Both ways agree up to the order of sums.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from mcdist.json_text import parse_json
from mcdist.machine.environment import cpu_name
from mcdist.ops.native import cache_folder
from mcdist.run_dir import write_atomically

NUM_RUNS = 3
MARGIN = 1.1
"""Only what is faster by this factor is taken, so that noise seldom decides."""
CHOICES_MAX = 4096
"""Of a file that is read; a larger one is not ours."""

_known: dict[str, bool] = {}


def other_is_faster(shape: str, *, usual: Callable[[], object], other: Callable[[], object]) -> bool:
    """Whether `other` is the way to compute at this `shape`, by what was measured here once. Takes a few calls of both where it was not yet."""
    if shape not in _known:
        kept = _kept()
        if shape not in kept:
            kept = {**kept, shape: _best_s(other) * MARGIN < _best_s(usual)}
            _keep(kept)
        _known[shape] = kept[shape]
    return _known[shape]


def _best_s(way: Callable[[], object]) -> float:
    """The fastest of a few calls: what else the machine does can only make one slower."""
    taken_s = []
    for _ in range(NUM_RUNS + 1):  # the first one prepares
        began_s = time.perf_counter()
        way()
        taken_s.append(time.perf_counter() - began_s)
    return min(taken_s[1:])


def _kept() -> dict[str, bool]:
    """Read anew each time, since several processes measure; what is no such file counts as empty."""
    path = _path()
    try:
        found = parse_json(path.read_text()) if path is not None else {}
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(found, dict) and len(found) <= CHOICES_MAX and all(isinstance(value, bool) for value in found.values())
    return found if is_ours else {}


def _keep(choices: dict[str, bool]) -> None:
    """A folder that cannot be written means that the next process measures again."""
    path = _path()
    if path is None:
        return
    try:
        write_atomically(path, json.dumps(choices, indent=1, sort_keys=True).encode() + b"\n")
    except OSError:
        return


def _path() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / f"fastest-{_machine()}.json"


@cache
def _machine() -> str:
    """Homes are shared by machines of several kinds."""
    facts = (cpu_name(), platform.machine(), torch.__version__, torch.backends.cpu.get_cpu_capability(), str(torch.backends.mkldnn.is_available()))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
