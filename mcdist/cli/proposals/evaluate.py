"""mcdist proposals evaluate."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mcdist.cli.options import Device, Options, read_ids, read_options
from mcdist.errors import DataError, MachineError


def evaluate_command(
    masks: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of proposals, or of any masks.", show_default=False)],
    truth: Annotated[Path | None, typer.Option(metavar="DIR", help="Ground truth: the photo's path with .png, class ids.")] = None,
    background: Annotated[str, typer.Option(metavar="IDS", help="Ids of the ground truth that are background.")] = "0",
    void: Annotated[str, typer.Option(metavar="IDS", help="Ids that count nowhere.")] = "255",
    foreground: Annotated[str, typer.Option(metavar="IDS", help="Ids that are objects, others count nowhere; empty: all others are objects.")] = "",
    confidence: Annotated[Path | None, typer.Option(metavar="DIR", help="Confidence maps (make --confidence), for the measures of saliency.")] = None,
    stretched: Annotated[bool, typer.Option("--stretched", help="Stretch each confidence map to 0..255 first, as PySODMetrics does.")] = False,
    photos: Annotated[Path | None, typer.Option(metavar="DIR", help="The photos: for the contact sheet, and for stability.")] = None,
    method: Annotated[str | None, typer.Option(help="Ask this method again on mirrored and shrunk photos; default: the one that made DIR.")] = None,
    option: Options = None,
    device: Device = "cpu",
    num_stability: Annotated[int, typer.Option(min=0, help="Photos for stability, 0 for none.")] = 32,
    limit: Annotated[int, typer.Option(min=0, help="Judge only so many masks, spread evenly; 0 for all.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write what was found.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where the contact sheet goes; default with --photos: DIR-sheet.png beside DIR.")
    ] = None,
) -> None:
    """Judge proposals: against ground truth where there is some, else by coverage, number, size and stability; and draw a contact sheet.

    Example: mcdist proposals evaluate masks --photos photos
    Example: mcdist proposals evaluate masks --truth labels --confidence masks_soft
    """
    from mcdist.proposals.quality.evaluate_folder import folder_facts, judge_folder, option_texts, stability
    from mcdist.proposals.quality.truth import Truth
    from mcdist.proposals.registry import make_method
    from mcdist.report.progress import LINE_EVERY_S, progress_bar

    wanted = (
        None
        if truth is None
        else Truth(
            truth, background=read_ids(background, key="--background"), void=read_ids(void, key="--void"), foreground=read_ids(foreground, key="--foreground")
        )
    )
    with progress_bar("Judging", total=limit or len(list(masks.rglob("*.png"))), line_every_s=LINE_EVERY_S) as tick:
        judged = judge_folder(masks, truth=wanted, confidence=confidence, stretched=stretched, limit=limit, tick=tick)
    facts = folder_facts(masks)
    values = dict(judged.values)
    if photos is not None and num_stability and (method or facts):
        name = method or facts["method"]
        options = read_options(option) or (option_texts(facts["parameters"]) if not method else {})
        again = make_method(name, device=device, options=options)
        if again.scope == "folder":
            typer.echo(f"stability is left out: {name} proposes the photos of a folder together, and would be asked about single ones")
        else:
            with progress_bar("Asking again", total=num_stability, line_every_s=LINE_EVERY_S) as tick:
                values |= stability(again, photos, num=num_stability, tick=tick)
    _show_judged(masks, values=values, num_photos=judged.num_photos, purity=judged.purity_by_class, notes=judged.notes)
    if json_file is not None:
        _write_json(
            json_file,
            {"method": {key: facts[key] for key in ("method", "version", "parameters", "refine") if key in facts}, **judged.to_dict(), "values": values},
        )
    if photos is not None:
        path = sheet or masks.resolve().with_name(f"{masks.resolve().name}-sheet.png")
        _write_sheet(masks, photos=photos, path=path)
        typer.echo(f"contact sheet: {path}")


def _show_judged(masks: Path, *, values: dict[str, float], num_photos: int, purity: dict[int, float], notes: dict[str, int]) -> None:
    typer.echo(f"{masks}: {num_photos:,} masks")
    for name, value in values.items():
        typer.echo(f"  {name.replace('_', ' ')}: {value:.3f}")
    if purity:
        typer.echo("  purity by class (0 is background): " + ", ".join(f"{kind} {value:.2f}" for kind, value in purity.items()))
    for note, count in notes.items():
        typer.echo(f"  note: {note}: {count:,}")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    from mcdist.run_dir import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make the folder of {path}: {error.strerror}; choose another --json") from error
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")


def _write_sheet(masks: Path, *, photos: Path, path: Path, num: int = 24) -> None:
    """Photos with their masks, spread evenly; a mask whose photo is not there, or of another size, is left out."""
    from mcdist.data.pictures.folder import pictures_in
    from mcdist.proposals.folder.read_photo import read_photo
    from mcdist.proposals.quality.evaluate_folder import photo_of, read_instances, spread
    from mcdist.report.pictures.contact_sheet import Tile, write_contact_sheet

    tiles = []
    for name in spread([name for name in pictures_in(masks) if name.endswith(".png")], num=num):
        photo = photo_of(name, photos=photos)
        if photo is None:
            continue
        pixels, instances = read_photo(photo, max_side_px=None).pixels, read_instances(masks / name)
        if pixels.shape[:2] == instances.shape:
            tiles.append(Tile(pixels, instances, name.removesuffix(".png")))
    if not tiles:
        raise DataError(f"expected the photos of {masks} in {photos}, found none that fits; give the folder that the proposals were made of")
    write_contact_sheet(tiles, path=path)
