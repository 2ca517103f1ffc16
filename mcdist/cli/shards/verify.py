"""mcdist shards verify."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.errors import ShardError

SHOWN_PROBLEMS = 20


def verify_command(folder: Annotated[Path, typer.Argument(help="Shard folder.", show_default=False)]) -> None:
    """Read every byte of a shard folder again and compare it with its manifest; exit code 3 where it is damaged."""
    from mcdist.building.verify import verify_shards
    from mcdist.data.shards.manifest import read_manifest
    from mcdist.report.progress import progress_bar

    with progress_bar("Verifying", total=read_manifest(folder).num_samples) as tick:
        verified = verify_shards(folder, tick=tick)
    counts = f"{verified.num_shards} shards, {verified.num_samples:,} photos, {verified.num_members:,} members, {verified.num_bytes / 1e6:,.1f} MB"
    if not verified.problems:
        typer.echo(f"{folder} is sound: {counts}.")
        return
    typer.echo(f"{folder}: {counts}; {len(verified.problems)} problems:")
    for problem in verified.problems[:SHOWN_PROBLEMS]:
        typer.echo(f"  {problem}")
    raise ShardError(
        f"expected {folder} to be as its manifest says, found {len(verified.problems)} problems; build it again with --overwrite, or copy it again"
    )
