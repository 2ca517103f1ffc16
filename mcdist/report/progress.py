"""Progress: a bar of photos done, with speed and the time that is left; a line now and then where there is no terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_S = 30.0


class PhotosPerSecond(ProgressColumn):
    """The speed now."""

    def render(self, task: Task) -> Text:
        """Empty until the first photos are done."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.3g} photos/s")


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """A line on the error stream during something long whose end is not known. Silent where there is no terminal."""
    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


@contextmanager
def progress_bar(what: str, *, total: int, line_every_s: float | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream, so that results can be piped; yields the function that advances it.

    Where there is no terminal: silent, or with `line_every_s` a plain line so often, for a log file.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), PhotosPerSecond(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, total=total, every_s=line_every_s) if line_every_s else lambda _: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda num: progress.advance(task, num)


def _lines(what: str, *, total: int, every_s: float) -> Callable[[int], None]:
    began_s = last_s = time.monotonic()
    num_done = 0

    def advance(num: int) -> None:
        nonlocal num_done, last_s
        num_done += num
        now_s = time.monotonic()
        if now_s - last_s >= every_s:
            last_s = now_s
            speed = num_done / (now_s - began_s)
            print(
                f"{what}: {num_done:,} of {total:,} photos, {speed:.3g} photos/s, {(total - num_done) / speed / 60:,.0f} min left", file=sys.stderr, flush=True
            )

    return advance
