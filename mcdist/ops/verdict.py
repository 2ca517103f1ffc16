"""Verdict: whether the fused operators of a CUDA device may be trusted, found by a trial at their first use and then kept in the user's cache.

The trial runs in a process of its own: a kernel that hangs, or that leaves its device unusable, must not take the run with it. A process
decides for its own device and waits for no other one. Nothing here is asked again once a device has its verdict.
"""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mcdist.choices import Implementation
from mcdist.errors import MachineError
from mcdist.json_text import parse_json
from mcdist.ops.native import cache_folder
from mcdist.ops.trial import UNREACHABLE, Comparison, Trial
from mcdist.records import Record
from mcdist.run_dir import write_atomically

TRIAL_TIMEOUT_S = 300
"""Some 20 kernels are compiled, about a second each on a quiet machine. Below a collective's own timeout, so that the other ranks wait."""

SOURCES = ("triton_cells.py", "mask_contrast/kernel.py", "mask_pool/kernel.py", "mask_contrast/library.py", "mask_pool/library.py", "trial.py", "tolerance.py")
"""The code that a verdict is about, beside this file."""

DRIVER_FILE = Path("/proc/driver/nvidia/version")

Facts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the trial of a device found. `device` is its name; `comparisons` is empty where no trial could be made."""

    device: str
    comparisons: tuple[Comparison, ...]

    @property
    def trusted(self) -> bool:
        """Whether every comparison holds."""
        return bool(self.comparisons) and all(comparison.holds for comparison in self.comparisons)

    @property
    def reason(self) -> str:
        """Why the device is not trusted, with the numbers; empty where it is."""
        failed = [comparison for comparison in self.comparisons if not comparison.holds]
        return "; ".join(map(str, failed[:1])) + (f" ({len(failed) - 1} more comparisons fail)" if len(failed) > 1 else "")

    def __str__(self) -> str:
        if not self.trusted:
            return f"{self.device}: the fused operators are not used, compact ones are: {self.reason}"
        return f"{self.device}: the fused operators agree with the compact ones in {len(self.comparisons)} comparisons"

    def to_json(self) -> str:
        """One line, for another rank."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Verdict":
        """What `to_json` wrote."""
        content = parse_json(text)
        return cls(content["device"], tuple(Comparison(**row) for row in content["comparisons"]))

    def records(self, *, step: int) -> list[Record]:
        """The verdict as metrics: trusted (1 or 0), and where it is 0 the numbers of the first comparison that fails."""
        found = [Record(step, "fused_operators/trusted", float(self.trusted))]
        for comparison in [comparison for comparison in self.comparisons if not comparison.holds][:1]:
            if not comparison.error:
                found.append(Record(step, "fused_operators/difference", comparison.difference))
                found.append(Record(step, "fused_operators/tolerance", comparison.tolerance))
        return found


def verdict_for(device: torch.device, *, implementation: Implementation) -> Verdict | None:
    """The verdict that "auto" goes by on `device`; None where it needs none: on a CPU, without Triton, or where the implementation is named."""
    if implementation != "auto" or device.type != "cuda" or not find_spec("triton"):
        return None
    return verdict_on(torch.cuda.current_device() if device.index is None else device.index)


@cache
def verdict_on(index: int) -> Verdict:
    """The verdict on CUDA device `index`, from the cache or by a trial (about half a minute, once); warns once where it is not trusted."""
    facts = device_facts(index)
    path = _cache_path(facts)
    comparisons = read_comparisons(path, facts=facts)
    if comparisons is None:
        comparisons = try_device(index)
        _keep(path, comparisons, facts=facts)
    verdict = Verdict(facts["device"], tuple(comparisons))
    if not verdict.trusted:
        again = f"; to try again, delete {path}" if path and path.is_file() else ""
        warnings.warn(f"cuda:{index}, {verdict}{again}", RuntimeWarning, stacklevel=2)
    return verdict


def device_facts(index: int) -> Facts:
    """Everything that a verdict depends on; where one of them changes, the device is tried again."""
    major, minor = torch.cuda.get_device_capability(index)
    code = b"\0".join((Path(__file__).parent / name).read_bytes() for name in SOURCES)
    return {
        "device": torch.cuda.get_device_name(index),
        "capability": f"{major}.{minor}",
        "driver": _driver(),
        "cuda": str(torch.version.cuda or torch.version.hip),
        "torch": torch.__version__,
        **{package: _version(package) for package in ("triton", "mcdist")},
        "kernels": hashlib.sha256(code).hexdigest(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _driver() -> str:
    """The first line of what the driver says of itself, or nvidia-smi's word."""
    try:
        return DRIVER_FILE.read_text().partition("\n")[0].strip()
    except OSError:
        pass
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.partition("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def try_device(index: int) -> list[Comparison]:
    """The comparisons of a trial on CUDA device `index`; a trial that ends in any other way is one comparison with an error."""
    program = [sys.executable, "-P", "-m", "mcdist.ops.trial", f"cuda:{index}"]
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(program, capture_output=True, text=True, timeout=TRIAL_TIMEOUT_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return [_ended(f"no result within {TRIAL_TIMEOUT_S} s")]
    except OSError as error:
        return [_ended(f"the trial did not start: {error.strerror}")]
    if done.returncode == UNREACHABLE:  # a device that admits one process only
        return Trial().run(torch.device("cuda", index))
    comparisons = _parsed(done.stdout.strip().rpartition("\n")[2]) if done.returncode == 0 else None
    if comparisons:
        return comparisons
    said = (done.stderr.strip().splitlines() or ["no output"])[-1][:300]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return [_ended(f"the trial ended with {how}: {said}")]


def _ended(error: str) -> Comparison:
    return Comparison("the operators", "any dtype", "", float("nan"), float("nan"), error=error)


def _cache_path(facts: Facts) -> Path | None:
    folder = cache_folder()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
    return folder / f"verdict-{digest}.json" if folder else None


def read_comparisons(path: Path | None, *, facts: Facts) -> list[Comparison] | None:
    """The comparisons kept at `path` for these facts; None where there are none, or the file is damaged or about something else."""
    try:
        content = parse_json(path.read_bytes()) if path else None
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("facts") != facts:
        return None
    return _comparisons(content.get("comparisons")) or None


def _keep(path: Path | None, comparisons: Iterable[Comparison], *, facts: Facts) -> None:
    """A device without memory for the trial may have it the next time, and a disk that is full is no reason to stop: neither is kept."""
    if path is None or any("OutOfMemoryError" in comparison.error for comparison in comparisons):
        return
    content = {"facts": facts, "comparisons": [asdict(comparison) for comparison in comparisons]}
    try:
        write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")
    except MachineError:
        return


def _parsed(text: str) -> list[Comparison] | None:
    try:
        return _comparisons(parse_json(text))
    except ValueError:
        return None


def _comparisons(rows: Any) -> list[Comparison] | None:
    """Rows of JSON as comparisons; None where one does not have exactly a comparison's fields."""
    if not isinstance(rows, list):
        return None
    found = []
    for row in rows:
        if not isinstance(row, dict) or {name: type(value) for name, value in row.items()} != Comparison.__annotations__:
            return None
        found.append(Comparison(**row))
    return found
