"""The summary that a person sees when shards are built."""

import typer

from mcdist.building.folder.build import Built
from mcdist.building.folder.part import PartBuilt

SHOWN_SKIPPED = 3


def print_part(part: Built | PartBuilt) -> None:
    """As `print_built` where this part was the last; else what it did and what is missing."""
    if isinstance(part, Built):
        print_built(part)
        return
    typer.echo(
        f"{part.folder}: part {part.part} of {part.num_parts} is built, {part.num_shards} shards; {part.num_missing} shards of other parts are not there yet"
    )


def print_built(built: Built) -> None:
    """One paragraph: how much, how fast, where; then what was left out and why."""
    manifest = built.manifest
    megabytes = sum(shard.num_bytes for shard in manifest.shards) / 1e6
    size = f"{manifest.num_samples:,} photos in {len(manifest.shards)} shards, {megabytes:,.1f} MB"
    if built.already:
        typer.echo(f"{built.folder} is complete already, with the same options: {size}. Nothing to do.")
    else:
        kept = f", {built.num_kept} shards kept from an earlier run" if built.num_kept else ""
        typer.echo(f"{built.folder}: {size}, {built.wall_s:.1f} s ({built.num_made / max(built.wall_s, 1e-3):,.0f} photos/s{kept})")
    for note, num in sorted(built.notes.items()):
        typer.echo(f"  {note}: {num:,} photos")
    if manifest.skipped:
        num_skipped, listed = len(manifest.skipped), built.folder / "manifest.json"
        typer.echo(f"  skipped: {num_skipped:,} of {num_skipped + manifest.num_samples:,} photos, all listed in {listed}; the first:")
        for photo, reason in manifest.skipped[:SHOWN_SKIPPED]:
            typer.echo(f"    {photo}: {reason}")
