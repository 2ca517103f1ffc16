"""A hunt: inputs for one target until the time is up, and what it tripped over, one finding for each place in the code."""

import random
import resource
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mcdist.errors import McdistError
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Read, Target

SECONDS_MAX = 10
"""A reader that takes longer for one input hangs."""
MEMORY_MAX_BYTES = 3 * 2**30
"""Beyond what the process has at first: a reader that asks for more allocates without bound."""


class HangError(BaseException):
    """Not an Exception, so that no reader takes it for damage."""


@dataclass
class Hunt:
    """`findings`: an input and its stack trace by the line that raised. `refused`: inputs that ended in a sentence."""

    target: str
    runs: int = 0
    refused: int = 0
    findings: dict[str, tuple[bytes, str]] = field(default_factory=dict)


def hunt(target: Target, *, folder: Path, seconds: float = 0.0, runs: int = 0, seed: int = 0) -> Hunt:
    """For `seconds`, or `runs` inputs. Inputs that are read without a refusal become seeds of others."""
    sound, read = target.make(folder)
    generator, found, pool = random.Random(f"{target.name} {seed}"), Hunt(target.name), list(sound)
    for content in sound[:1]:
        read(content)
    end = time.monotonic() + seconds
    with _bounds(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while found.runs < runs or time.monotonic() < end:
            content = mutated(generator.choice(pool), others=sound, generator=generator)
            if try_one(read, content, found) and len(content) < 4 * max(map(len, sound)):
                pool.append(content)
                if len(pool) > 200:
                    del pool[generator.randrange(len(sound), len(pool))]
    return found


def try_one(read: Read, content: bytes, found: Hunt) -> bool:
    """Whether the input was read without a refusal; what must not be is noted in `found`."""
    found.runs += 1
    signal.alarm(SECONDS_MAX)
    try:
        read(content)
    except McdistError:
        found.refused += 1
        return False
    except BaseException as error:
        signal.alarm(0)
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/mcdist/" in frame.filename]
        place = f"{type(error).__name__} {(ours or [last])[-1].filename}:{(ours or [last])[-1].lineno}"
        found.findings.setdefault(place, (content, traceback.format_exc(limit=-12)[-6000:]))
        return False
    finally:
        signal.alarm(0)
    return True


class _bounds:  # noqa: N801
    """A context: a reader that hangs or asks for too much memory raises."""

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._hang)
        self._limit = resource.getrlimit(resource.RLIMIT_AS)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_MAX_BYTES, self._limit[1]))

    def __exit__(self, *exception: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self._limit)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    @staticmethod
    def _hang(number: int, frame: FrameType | None) -> None:
        raise HangError(f"it took more than {SECONDS_MAX} s")


def hunt_with_atheris(target: Target, *, folder: Path, runs: int) -> None:
    """libFuzzer's own loop, with the package's code watched. It ends the process. Raises ImportError without atheris."""
    import atheris

    sound, read = target.make(folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(sound):
        (corpus / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        try:
            read(content)
        except McdistError:
            return

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-runs={runs or -1}", f"-timeout={SECONDS_MAX}", "-rss_limit_mb=4096", str(corpus)], one)
    atheris.Fuzz()
