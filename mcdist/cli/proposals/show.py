"""Proposals are made while a person watches: a progress bar, then what became of the photos."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import typer

from mcdist.cli.options import read_part
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.report.progress import LINE_EVERY_S, progress_bar


def show_proposed(
    photos: Path,
    *,
    out: Path,
    method: str,
    options: dict[str, str],
    refine: str,
    device: str,
    workers: int,
    part: str = "1/1",
    confidence: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Make the proposals with a progress bar, then print what became of the photos."""
    number, num_parts = read_part(part)
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None

        def begin(total: int) -> None:
            nonlocal advance
            advance = stack.enter_context(progress_bar(f"Proposing ({method})", total=total, line_every_s=LINE_EVERY_S))

        def tick(num: int) -> None:
            assert advance is not None, "the number of photos is known before the first is done"
            advance(num)

        done = propose_folder(
            photos,
            out=out,
            method=method,
            options=options,
            refine=refine,
            device=device,
            num_workers=workers,
            part=number,
            num_parts=num_parts,
            confidence=confidence,
            overwrite=overwrite,
            tick=tick,
            say_total=begin,
        )
    kept = f", {done.num_kept:,} kept from an earlier run" if done.num_kept else ""
    speed = f", {done.num_made / done.wall_s:,.3g} photos/s" if done.num_made else ""
    typer.echo(f"{out}: {done.summary.num_photos:,} photos, {done.num_made:,} of them now in {done.wall_s:.1f} s{speed}{kept}")
    for what, count in {**done.summary.outcomes, **{f"note: {note}": count for note, count in done.summary.notes.items()}}.items():
        typer.echo(f"  {what}: {count:,}")
    if not done.complete:
        typer.echo(f"  other parts of {num_parts} are not done yet; the last to finish writes {done.folder.manifest}")
