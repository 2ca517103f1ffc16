"""What a person sees while shards are built or checked, and the summary at the end."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console

from mcdist.building.folder.build import Built
from mcdist.building.folder.part import PartBuilt

SHOWN_SKIPPED = 3


@contextmanager
def shown_while_working(what: str) -> Iterator[None]:
    """A line on the error stream while something long goes on that cannot say how long. Silent where there is no terminal."""
    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


def print_part(part: Built | PartBuilt) -> None:
    """As `print_built` where this part was the last; else what it did and what is missing."""
    if isinstance(part, Built):
        print_built(part)
        return
    text = f"{part.folder}: part {part.part} of {part.num_parts} is built, {part.num_shards} shards; {part.num_missing} shards of other parts are not there yet"
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


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
