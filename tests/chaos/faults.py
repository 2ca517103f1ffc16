"""Faults: what befalls a command. Each is drawn from a generator, does its harm while the command runs, and says in words what it did."""

import errno
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.chaos.poison import PLACES
from tests.chaos.scenarios import NUM_STEPS, Scenario
from tests.chaos.shim import Action
from tests.chaos.warm_server import Command, Ended, Warm


@dataclass(frozen=True)
class Undisturbed:
    """What a scenario takes when it is left alone."""

    seconds: float
    num_changes: int
    """Calls that change a file."""


@dataclass(frozen=True)
class Struck:
    """A command that was struck: what was done to it, and how it ended. `fired`: the fault took place before the command was done.

    `may_differ`: the fault is part of the science (a step without a finite loss is left out), so another result is right if it says so."""

    what: str
    ended: Ended
    fired: bool
    may_differ: bool = False


Blow = Callable[[list[Command], Path, Path, Warm, Undisturbed, random.Random], Struck]
"""(commands, folder, log, warm, undisturbed, generator) -> struck. Everything below `folder` may be damaged; what was damaged is whole again afterwards."""


@dataclass(frozen=True)
class Fault:
    """`strike` is done to scenarios for which `fits` holds; `weight`: how often it is drawn."""

    name: str
    strike: Blow
    fits: Callable[[Scenario], bool] = lambda scenario: True
    weight: int = 1


def at_a_change(action: Action, *, error: int = 0) -> Blow:
    """At one of the calls that change a file, each as likely as the others."""

    def strike(commands: list[Command], folder: Path, log: Path, warm: Warm, undisturbed: Undisturbed, generator: random.Random) -> Struck:
        at = generator.randint(1, undisturbed.num_changes)
        warm.plan.arm(folder, action=action, at=at, error=error)
        try:
            ended = warm.run(commands, log=log)
            return Struck(
                f"change {at} of {undisturbed.num_changes}: {action.name.lower()}{f' {errno.errorcode[error]}' if error else ''}",
                ended,
                warm.plan.num_fired > 0,
            )
        finally:
            warm.plan.disarm()

    return strike


def signals(*numbers: signal.Signals, one_rank: bool = False, pause_s: float = 0.0) -> Blow:
    """At a random time, to all processes or to one rank; several with a pause between them."""

    def strike(commands: list[Command], folder: Path, log: Path, warm: Warm, undisturbed: Undisturbed, generator: random.Random) -> Struck:
        rank = generator.randrange(len(commands)) if one_rank else None
        when = _sometime(undisturbed, generator)
        warm.start(commands, log=log)
        time.sleep(when)
        for place, number in enumerate(numbers):
            if place:
                time.sleep(pause_s)
            warm.signal(number, rank=rank)
        ended = warm.wait()
        names = ", ".join(number.name for number in numbers)
        return Struck(f"{names} after {when:.2f} s to {'all' if rank is None else f'rank {rank}'}", ended, ended.codes != [0] * len(commands))

    return strike


def damaged_shard(damage: Callable[[Path, random.Random], str]) -> Blow:
    """A shard that is read becomes another at a random time, and is as before when the command is given again."""

    def strike(commands: list[Command], folder: Path, log: Path, warm: Warm, undisturbed: Undisturbed, generator: random.Random) -> Struck:
        shard = generator.choice(sorted((folder / "shards").glob("*.tar")))
        content, when = shard.read_bytes(), generator.uniform(0, 0.5) * undisturbed.seconds
        warm.start(commands, log=log)
        time.sleep(when)
        what = damage(shard, generator)
        try:
            ended = warm.wait()
        finally:
            shard.write_bytes(content)
        return Struck(f"{shard.name} {what} after {when:.2f} s", ended, ended.codes != [0] * len(commands))

    return strike


def _vanish(shard: Path, generator: random.Random) -> str:
    shard.unlink()
    return "vanished"


def _truncate(shard: Path, generator: random.Random) -> str:
    size = generator.randrange(shard.stat().st_size)
    with shard.open("r+b") as file:
        file.truncate(size)
    return f"cut to {size} bytes"


def _change(shard: Path, generator: random.Random) -> str:
    place = generator.randrange(shard.stat().st_size)
    with shard.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << generator.randrange(8)]))
    return f"a bit of byte {place} turned"


def poisoned(place: str) -> Blow:
    """A number that is not finite in one step."""

    def strike(commands: list[Command], folder: Path, log: Path, warm: Warm, undisturbed: Undisturbed, generator: random.Random) -> Struck:
        poison = {"place": place, "step": generator.randrange(NUM_STEPS), "value": generator.choice(("nan", "inf"))}
        ended = warm.run([replace(command, poison=poison) for command in commands], log=log)
        return Struck(f"{poison['value']} in the {place} of step {poison['step']}", ended, True, may_differ=True)

    return strike


def clock_jump(commands: list[Command], folder: Path, log: Path, warm: Warm, undisturbed: Undisturbed, generator: random.Random) -> Struck:
    """The wall clock jumps, by up to a day, and stays wrong."""
    when, seconds = _sometime(undisturbed, generator), generator.choice((-86_400, -600, 600, 86_400))
    warm.plan.arm(folder)
    warm.start(commands, log=log)
    time.sleep(when)
    warm.plan.set_clock_wrong_by(seconds)
    try:
        return Struck(f"the clock jumps by {seconds} s after {when:.2f} s", warm.wait(), True)
    finally:
        warm.plan.disarm()


def little_memory(commands: list[Command], folder: Path, log: Path, warm: Warm, undisturbed: Undisturbed, generator: random.Random) -> Struck:
    """One rank gets a few MiB beyond what it begins with, and no more."""
    rank, mib = generator.randrange(len(commands)), generator.choice((1, 4, 16, 64))
    limited = [replace(command, memory_mib=mib) if place == rank else command for place, command in enumerate(commands)]
    ended = warm.run(limited, log=log)
    return Struck(f"{mib} MiB of memory for rank {rank}", ended, ended.codes != [0] * len(commands))


def _sometime(undisturbed: Undisturbed, generator: random.Random) -> float:
    return generator.uniform(0.02, 1.0) * undisturbed.seconds


def _several(scenario: Scenario) -> bool:
    return "ranks" in scenario.name


def _reads_shards(scenario: Scenario) -> bool:
    return "shards" in scenario.reads


def _trains(scenario: Scenario) -> bool:
    return scenario.trains


FAULTS = (
    Fault("killed before a change of a file", at_a_change(Action.KILL_BEFORE), weight=4),
    Fault("killed after a change of a file", at_a_change(Action.KILL_AFTER), weight=4),
    Fault("killed in the middle of a write", at_a_change(Action.KILL_HALFWAY), weight=3),
    Fault("disk full from a change on", at_a_change(Action.FAIL_ON, error=errno.ENOSPC), weight=3),
    Fault("disk read-only from a change on", at_a_change(Action.FAIL_ON, error=errno.EROFS), weight=2),
    Fault("one I/O error at a change", at_a_change(Action.FAIL_ONCE, error=errno.EIO), weight=3),
    Fault("SIGKILL to all", signals(signal.SIGKILL), weight=2),
    Fault("SIGKILL to one rank", signals(signal.SIGKILL, one_rank=True), fits=_several, weight=2),
    Fault("SIGTERM", signals(signal.SIGTERM), weight=2),
    Fault("SIGTERM twice", signals(signal.SIGTERM, signal.SIGTERM, pause_s=0.1)),
    Fault("SIGINT twice", signals(signal.SIGINT, signal.SIGINT, pause_s=0.1)),
    Fault("stopped and continued", signals(signal.SIGSTOP, signal.SIGCONT, pause_s=2.0)),
    Fault("one rank stopped longer than the watchdog waits", signals(signal.SIGSTOP, signal.SIGCONT, one_rank=True, pause_s=15.0), fits=_several),
    Fault("a shard vanishes", damaged_shard(_vanish), fits=_reads_shards),
    Fault("a shard is cut short", damaged_shard(_truncate), fits=_reads_shards),
    Fault("a bit of a shard turns", damaged_shard(_change), fits=_reads_shards),
    *(Fault(f"not finite: {place}", poisoned(place), fits=_trains) for place in PLACES),
    Fault("the clock jumps", clock_jump),
    Fault("out of memory in one process", little_memory),
)
