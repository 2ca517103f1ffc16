"""Environment: the machine, the versions and the command of a run, as facts for its report."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mcdist.machine.cores import num_cores

PACKAGES = ("mcdist", "torch", "torchvision", "numpy", "webdataset", "faiss-cpu", "faiss-gpu", "mlflow", "deepspeed")


def describe_environment(*, device: str, num_ranks: int, precision: str) -> dict[str, Any]:
    """One start of a run as JSON-ready facts; what cannot be found out is left out."""
    facts = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": _command(),
        "commit": _commit(),
        "host_cpu": cpu_name(),
        "num_cores": num_cores(),
        "memory_gib": memory_gib(),
        "device": device,
        "num_ranks": num_ranks,
        "precision": precision,
        "versions": {"python": platform.python_version(), **versions()},
    }
    return {name: value for name, value in facts.items() if value is not None}


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cpu_name() -> str:
    """The processor's own name, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def memory_gib() -> float | None:
    """Main memory of this machine."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _command() -> str:
    """What was typed; `python -m mcdist` puts its __main__.py in the program's place."""
    program = Path(sys.argv[0])
    return shlex.join([program.parent.name if program.stem == "__main__" else program.name, *sys.argv[1:]])


def _commit() -> str | None:
    """The commit this code stands at, with a + where files were changed; None outside a git checkout. A job's copy of the code has it in MCDIST_COMMIT."""
    if "MCDIST_COMMIT" in os.environ:
        return os.environ["MCDIST_COMMIT"] or None
    here = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
