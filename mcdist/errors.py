"""Every error a user can cause, each with its exit code. A message says what was expected, what came, where, and what to do.

Exit codes of `mcdist train` that are no error: 0 trained, 130 stopped by Ctrl-C, 143 by SIGTERM, and `REQUEUE`.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

REQUEUE = 75
"""The cluster gave notice (time limit near, or preempted): the run is saved and asks to be started again. EX_TEMPFAIL of sysexits.h."""


def reason(error: Exception) -> str:
    """What a lower error says about a file, in words: for the brackets of a message such as `FILE is damaged (...)`."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}" if error.args else "something is missing in it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or "it has another form than expected"


def differing(there: Mapping[str, Any], wanted: Mapping[str, Any], *, names: Iterable[str], most: int | None = None) -> str:
    """Which of the settings `names` are others in a folder that holds results already, at most `most` of them; empty where all are equal.

    For the brackets of a message such as `FOLDER holds other masks (...)`. A setting that is missing counts as None.
    """
    different = [name for name in names if there.get(name) != wanted.get(name)]
    return "; ".join(f"{name} is {there.get(name)!r} there, {wanted.get(name)!r} was asked for" for name in different[:most])


class McdistError(Exception):
    """An error with one clear sentence for the user; `in_plain_words` prints it without a stack trace and exits with `exit_code`."""

    exit_code = 1


class ConfigError(McdistError, ValueError):
    """A setting or an argument is unknown, of the wrong type, out of range or at odds with another."""

    exit_code = 2


class DataError(McdistError):
    """Photos, masks or a data folder are missing, unreadable or do not fit together."""

    exit_code = 3


class ShardError(DataError):
    """A shard folder or a sample in it is incomplete, damaged or of another schema version."""


class CheckpointError(McdistError):
    """A checkpoint is missing, damaged, of another model or of another schema version."""

    exit_code = 4


class TrainingError(McdistError):
    """Training cannot go on: the loss or the gradient stayed non-finite."""

    exit_code = 5


class MissingExtraError(McdistError, ImportError):
    """An optional package is needed and not installed; the message holds the install line."""

    exit_code = 6


class MachineError(McdistError, OSError):
    """The machine refused: no space left, a port in use, a device that is not there."""

    exit_code = 7


class RankLostError(MachineError):
    """Another rank died or hangs, or this one finished no step for too long. The last checkpoint is intact, and starting again may help."""


class HeldError(McdistError):
    """The run folder is held by another job that lives."""

    exit_code = 8


class SupersededError(McdistError):
    """A newer attempt holds the run folder; this one may write nothing any more."""

    exit_code = 9


class OutdatedError(McdistError):
    """Somebody else changed what this change was meant for; nothing was changed, and the newer state is there to be looked at."""

    exit_code = 10


@contextmanager
def in_plain_words() -> Iterator[None]:
    """The end of every program: an error a user can cause is one sentence on the error stream and its exit code, never a stack trace.

    Raises:
        SystemExit: with the error's exit code; 130 for Ctrl-C.
    """
    try:
        yield
    except McdistError as error:
        print(f"mcdist: {error}", file=sys.stderr, flush=True)
        if isinstance(error, RankLostError):
            sys.stdout.flush()
            os._exit(error.exit_code)  # a thread may still wait for the rank that was lost
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as interrupt:
        print("mcdist: interrupted; everything that was saved before is intact", file=sys.stderr, flush=True)
        raise SystemExit(130) from interrupt
