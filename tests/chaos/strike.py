"""A strike: a scenario under a fault, then the same command again, and what became of it."""

import hashlib
import json
import math
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mcdist.run_dir import name_of
from tests.chaos.faults import Fault, Struck, Undisturbed
from tests.chaos.scenarios import NUM_STEPS, Inputs, Scenario
from tests.chaos.warm_server import Warm

OUTCOMES = (
    "same result", "same result after the command was given again", "a sentence, then the same result", "a step left out, and counted",
    "another result", "no way on", "a stack trace", "a hang",
)  # fmt: skip
DEFECTS = OUTCOMES[4:]
_SENTENCE = re.compile(r"^mcdist: .+|^\[rank \d+\] mcdist: .+", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """A scenario left alone, twice: `files` that were the same bytes both times, by name, and what it takes."""

    scenario: Scenario
    undisturbed: Undisturbed
    files: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """`what`: the fault in words. `left`: files that an undisturbed command does not leave. `seconds`: the command that was given again, if one was."""

    scenario: str
    fault: str
    what: str
    outcome: str
    fired: bool
    seconds: float
    detail: str = ""
    left: tuple[str, ...] = ()

    @property
    def is_defect(self) -> bool:
        """Whether this must not be."""
        return self.outcome in DEFECTS


def lay_out(scenario: Scenario, *, inputs: Inputs, folder: Path) -> Path:
    """A folder of its own with copies of what the scenario reads."""
    folder.mkdir(parents=True)
    for name in scenario.reads:
        source = getattr(inputs, name)
        if source.is_dir():
            shutil.copytree(source, folder / source.name)
        else:
            shutil.copy(source, folder)
    return folder


def measure(scenario: Scenario, *, inputs: Inputs, folder: Path, warm: Warm) -> Reference:
    """Leave the scenario alone, twice.

    Raises:
        RuntimeError: it fails, or a file that should prove something differs between the two.
    """
    found, seconds, num_changes = [], [], []
    for place in range(2):
        own = lay_out(scenario, inputs=inputs, folder=folder / str(place))
        warm.plan.arm(own)
        ended = warm.run(scenario.commands(own), log=folder / f"{place}.log")
        num_changes.append(warm.plan.num_seen)
        warm.plan.disarm()
        if any(ended.codes):
            raise RuntimeError(f"{scenario.name} fails when it is left alone: {ended.codes}\n{(folder / f'{place}.log').read_text()[-2000:]}")
        seconds.append(ended.seconds)
        found.append(digests(own))
    same = {name: digest for name, digest in found[0].items() if found[1].get(name) == digest and not _depends_on_stops(name) and not _is_housekeeping(name)}
    for pattern in scenario.proves:
        names = [name for name in found[0] if fnmatch(name, pattern) and not _depends_on_stops(name)]
        if not names or not set(names) <= same.keys():
            raise RuntimeError(f"{scenario.name} proves nothing: of {pattern}, these differ between two undisturbed runs: {sorted(set(names) - same.keys())}")
    shutil.rmtree(folder)
    return Reference(scenario, Undisturbed(min(seconds), min(num_changes)), same)


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file by its name in `folder`; the folder's own name in a file counts as any other."""
    own = str(folder).encode()
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes().replace(own, b"FOLDER")).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def strike(reference: Reference, fault: Fault, *, inputs: Inputs, folder: Path, warm: Warm, generator: random.Random) -> Outcome:
    """One fault, then the same command as often as it takes, three times at most; the folder is removed unless the outcome is a defect."""
    scenario = reference.scenario
    own, log = lay_out(scenario, inputs=inputs, folder=folder / "files"), folder / "struck.log"
    struck = fault.strike(scenario.commands(own), own, log, warm, reference.undisturbed, generator)
    first = log.read_text(errors="replace")
    told = bool(_SENTENCE.search(first))

    def outcome(name: str, *, seconds: float = math.nan, detail: str = "") -> Outcome:
        left = sorted(name for name in digests(own) if name not in reference.files and _is_litter(name))
        result = Outcome(scenario.name, fault.name, struck.what, name, struck.fired, seconds, detail, tuple(left))
        if not result.is_defect:
            shutil.rmtree(folder)
        return result

    if struck.ended.hung:
        return outcome("a hang", detail=first[-1500:])
    if "Traceback (most recent call last)" in first and not all(code == -signal.SIGKILL for code in struck.ended.codes):
        return outcome("a stack trace", detail=first[-3000:])  # a worker whose parent was killed may print the interpreter's own
    if struck.may_differ and not any(struck.ended.codes):
        problem = _steps_problem(own / "out" / "metrics.jsonl", left_out=1)
        return outcome("another result", detail=problem) if problem else outcome("a step left out, and counted")
    if not any(struck.ended.codes):
        differs = _differs(reference, own)
        return outcome("another result", detail=f"it ended with 0, and differs: {differs}; {first[-800:]}") if differs else outcome("same result")
    if not told and any(code > 0 and code not in (75, 130, 143) for code in struck.ended.codes):
        return outcome("a stack trace", detail=f"it ended with {struck.ended.codes} and no sentence: {first[-1500:]}")

    began, texts = time.monotonic(), []
    for place in range(3):
        again = warm.run(scenario.commands(own), log=folder / f"again_{place}.log")
        texts.append((folder / f"again_{place}.log").read_text(errors="replace"))
        if again.hung:
            return outcome("a hang", detail=f"given again: {texts[-1][-1500:]}")
        if "Traceback (most recent call last)" in texts[-1]:
            return outcome("a stack trace", detail=f"given again: {texts[-1][-3000:]}")
        if not any(again.codes):
            break
    else:
        return outcome("no way on", detail=f"struck: {first[-700:]}\ngiven again: {texts[-1][-1200:]}")
    seconds = time.monotonic() - began
    differs = _differs(reference, own)
    if differs or (scenario.trains and (problem := _steps_problem(own / "out" / "metrics.jsonl"))):
        return outcome("another result", seconds=seconds, detail=f"{differs or problem}\nstruck: {first[-700:]}\ngiven again: {texts[-1][-700:]}")
    return outcome("a sentence, then the same result" if told else "same result after the command was given again", seconds=seconds)


def _differs(reference: Reference, folder: Path) -> list[str]:
    found = digests(folder)
    return [name for name, digest in reference.files.items() if found.get(name) != digest]


def _depends_on_stops(name: str) -> bool:
    """A training that is stopped keeps a checkpoint of that step, and `best` is the best of those that were kept; the last one is the result."""
    return name.startswith("out/checkpoints/") and name_of(NUM_STEPS) not in name


_HOUSEKEEPING = ("*/attempts/*", "*/log.txt", "*/stacks/*", "*/environment.json", "*.lock", "*/bad_samples.jsonl", "*/report.html")


def _is_litter(name: str) -> bool:
    """Unfinished files: their names begin with a dot."""
    return any(part.startswith(".") for part in Path(name).parts) and not _is_housekeeping(name)


def _is_housekeeping(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _HOUSEKEEPING)


def _steps_problem(metrics: Path, *, left_out: int = 0) -> str:
    """Each step once and in order, and so many of them counted as without a finite loss; in words what is wrong, or nothing."""
    records = list(_records(metrics))
    steps = [record["step"] for record in records if record["name"] == "loss" and record["value"] is not None and math.isfinite(record["value"])]
    counted = [record["step"] for record in records if record["name"] == "count/nonfinite_steps"]
    num_left_out = max((record["value"] for record in records if record["name"] == "count/nonfinite_steps"), default=0)
    every = list(range(1, NUM_STEPS + 1))
    if counted != every or len(set(steps)) != len(steps) or len(steps) + left_out != NUM_STEPS:
        return f"{metrics.name} has losses of steps {steps} and counts of steps {counted}"
    return "" if num_left_out == left_out else f"{num_left_out:.0f} steps were left out, {left_out} expected"


def _records(metrics: Path) -> Iterator[dict[str, float]]:
    return (json.loads(line) for line in metrics.read_text().splitlines())


__all__ = ["DEFECTS", "OUTCOMES", "Outcome", "Reference", "Struck", "lay_out", "measure", "strike"]
