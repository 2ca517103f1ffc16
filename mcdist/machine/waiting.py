"""Waiting: how torch's threads wait for each other. Briefly spinning, then asleep, so that a busy machine loses nothing to them. No torch here.

The threads of OpenMP, which torch, oneDNN and mcdist's C++ compute with, meet at the end of every product. As GNU's library starts, one that is early spins
for milliseconds. Where another process has the core that the late one needs, that is time taken from both: on a machine with a load of 15 the same step took 4
to 20 times the CPU time (docs/performance.md). OpenMP reads its setting when it is loaded, so this must come before torch is imported.
"""

import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass

from mcdist.choices import WaitingChoice, require_choice

VARIABLE = "MCDIST_WAITING"
"""Environment variable: auto or system."""

SPINS = 1000
"""About as long as it takes to put a thread to sleep and wake it, some 20 microseconds: longer spinning can lose more than sleeping, shorter gains little.
GNU's own choice where there are more threads than cores."""

SETTINGS = {"GOMP_SPINCOUNT": str(SPINS), "KMP_BLOCKTIME": "0"}
"""For GNU's library, which torch brings on Linux, and for LLVM's and Intel's, which it brings on macOS and which others load."""
_CHOSEN_BY_USER = ("OMP_WAIT_POLICY", *SETTINGS)


@dataclass(frozen=True, slots=True)
class Waiting:
    """`brief`: threads sleep soon. `detail`: how that is set, or why it is left as it is."""

    brief: bool
    detail: str


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> Waiting:
    """Have OpenMP's threads sleep soon, in this process and in those it starts. Nobody's own setting is changed, and it is never an error to be late.

    Raises:
        ConfigError: MCDIST_WAITING is not one of its choices.
    """
    asked = environment.get(VARIABLE, "") or "auto"
    require_choice(VARIABLE, asked, choices=WaitingChoice)
    if asked == "system":
        return Waiting(False, f"left as it is, since {VARIABLE}=system")
    given = {name: environment[name] for name in _CHOSEN_BY_USER if name in environment}
    if given and given != SETTINGS:
        return Waiting(False, f"left as it is, since the environment sets {', '.join(given)}")
    if not given and "torch" in sys.modules:
        environment.update(SETTINGS)  # for the workers
        return Waiting(False, "left as it is, since torch was imported before mcdist was started")
    environment.update(SETTINGS)
    return Waiting(True, f"sleep after {SPINS:,} spins")
