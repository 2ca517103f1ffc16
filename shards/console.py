"""What a person sees while shards are built or checked: a progress bar, and the summary at the end."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from shards.build import Built

SHOWN_SKIPPED = 3


class PhotosPerSecond(ProgressColumn):
    """How fast it goes now."""

    def render(self, task: Task) -> Text:
        """Empty until the first photos are done."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} photos/s")


@contextmanager
def progress_bar(what: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream, so that results can be piped; gives the function that moves it on. Silent where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), PhotosPerSecond(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda num: progress.advance(task, num)


@contextmanager
def shown_while_working(what: str) -> Iterator[None]:
    """A line on the error stream while something long goes on that cannot say how long. Silent where there is no terminal."""
    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


def print_built(built: Built) -> None:
    """One paragraph: how much, how fast, where; then what was left out and why."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    manifest = built.manifest
    megabytes = sum(shard.num_bytes for shard in manifest.shards) / 1e6
    size = f"{manifest.num_samples:,} photos in {len(manifest.shards)} shards, {megabytes:,.1f} MB"
    if built.already:
        console.print(f"{built.folder} is complete already, with the same options: {size}. Nothing to do.")
    else:
        kept = f", {built.num_kept} shards kept from an earlier run" if built.num_kept else ""
        console.print(f"{built.folder}: {size}, {built.wall_s:.1f} s ({built.num_made / max(built.wall_s, 1e-3):,.0f} photos/s{kept})")
    for note, num in sorted(built.notes.items()):
        console.print(f"  {note}: {num:,} photos")
    if manifest.skipped:
        num_skipped, listed = len(manifest.skipped), built.folder / "manifest.json"
        console.print(f"  skipped: {num_skipped:,} of {num_skipped + manifest.num_samples:,} photos, all listed in {listed}; the first:")
        for photo, reason in manifest.skipped[:SHOWN_SKIPPED]:
            console.print(f"    {photo}: {reason}")


def default_workers() -> int:
    """One worker a core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
