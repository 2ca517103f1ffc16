"""The command line of proposals: mcdist proposals list|make."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcdist.environment import num_cores
from mcdist.errors import ConfigError

proposals = typer.Typer(no_args_is_help=True, help="Propose object masks for photos without any label, and judge them.")


DEFAULT_WORKERS = num_cores()


class Refine(StrEnum):
    """How edges are drawn to the photo's."""

    none = "none"
    guided = "guided"
    crf = "crf"


MethodName = Annotated[str, typer.Argument(metavar="METHOD", help="Which method; see: mcdist proposals list.", show_default=False)]
Photos = Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photos (JPEG, 8-bit PNG), nested or not.", show_default=False)]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the method; may be given several times.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Worker processes; they change the time, never a byte.")]
Device = Annotated[str, typer.Option("--device", help="cpu, or cuda for methods that use torch.")]
RefineOption = Annotated[Refine, typer.Option("--refine", help="Draw the objects' edges to the photo's.")]


@proposals.command("list")
def list_command() -> None:
    """Name every method, with its options and their defaults."""
    from mcdist.proposals.registry import names, options_of

    for name, about in names().items():
        try:
            options = " ".join(f"{key}={value}" for key, value in options_of(name).items())
        except (ConfigError, ImportError) as error:
            options = f"not here: {error}"
        typer.echo(f"{name}: {about}")
        if options:
            typer.echo(f"    {options}")


@proposals.command("make")
def make_command(
    method: MethodName,
    photos: Photos,
    out: Annotated[Path, typer.Option("--out", help="Folder for the masks: one PNG under each photo's own path.", show_default=False)],
    workers: Workers = DEFAULT_WORKERS,
    device: Device = "cpu",
    option: Options = None,
    refine: RefineOption = Refine.none,
    part: Annotated[str, typer.Option(metavar="K/N", help="Only part K of N, for an array of jobs; the last one to finish completes the folder.")] = "1/1",
    confidence: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the confidence maps: 8-bit grey PNGs, 255 is certain.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the proposals already in --out.")] = False,
) -> None:
    """Propose masks for every photo below PHOTOS. A run that was stopped goes on when the same command is given again.

    A photo that cannot take part is counted and listed with its reason in OUT/proposals.json, and stops nothing.

    Example: mcdist proposals make files photos --option masks=saliency --out masks
    """
    show_proposed(
        photos, out=out, method=method, options=read_options(option), refine=refine, device=device, workers=workers, part=part,
        confidence=confidence, overwrite=overwrite,
    )  # fmt: skip


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
    from mcdist.proposals.propose_folder import propose_folder
    from mcdist.report.progress import LINE_EVERY_S, progress_bar

    number, num_parts = read_part(part)
    with ExitStack() as stack:
        advance = [lambda _: None]

        def begin(total: int) -> None:
            advance[0] = stack.enter_context(progress_bar(f"Proposing ({method})", total=total, line_every_s=LINE_EVERY_S))

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
            tick=lambda num: advance[0](num),
            say_total=begin,
        )
    kept = f", {done.num_kept:,} kept from an earlier run" if done.num_kept else ""
    speed = f", {done.num_made / done.wall_s:,.3g} photos/s" if done.num_made else ""
    typer.echo(f"{out}: {done.summary.num_photos:,} photos, {done.num_made:,} of them now in {done.wall_s:.1f} s{speed}{kept}")
    for what, count in {**done.summary.outcomes, **{f"note: {note}": count for note, count in done.summary.notes.items()}}.items():
        typer.echo(f"  {what}: {count:,}")
    if not done.complete:
        typer.echo(f"  other parts of {num_parts} are not done yet; the last to finish writes {done.folder.manifest}")


def read_options(given: list[str] | None) -> dict[str, str]:
    """`key=value` texts as a dictionary; ConfigError for one without `=`."""
    options = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--option wants KEY=VALUE, got {text!r}")
        options[key] = value
    return options


def read_part(text: str) -> tuple[int, int]:
    """`K/N` as two numbers, 1 <= K <= N."""
    number, _, total = text.partition("/")
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise ConfigError(f"--part wants K/N with 1 <= K <= N, such as 3/16, got {text!r}")
    return int(number), int(total)
