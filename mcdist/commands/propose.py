"""The command line of proposals: mcdist proposals list|make|evaluate|self-train."""

import json
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.machine.environment import num_cores

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


@proposals.command("self-train")
def self_train_command(
    photos: Photos,
    masks: Annotated[Path, typer.Option("--masks", help="What to learn from: a folder of proposals, of any method.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the network and its masks (OUT/masks).", show_default=False)],
    rounds: Annotated[int, typer.Option(min=1, help="Each further round learns from what the network of the one before predicts.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of each round, 16 photos each.")] = 200,
    size_px: Annotated[int, typer.Option(help="Photos are squared to this; a multiple of 32.")] = 256,
    backbone: Annotated[str, typer.Option(help="resnet18, resnet50 or efficientnet_lite0.")] = "efficientnet_lite0",
    weights: Annotated[str, typer.Option(help="Of the backbone: a file, or imagenet (packaged for efficientnet_lite0; supervised).")] = "imagenet",
    precision: Annotated[str, typer.Option(help="Of the backbone: fp32, or bf16 where the CPU or GPU is fast in it.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Another seed, another network.")] = 0,
    workers: Workers = DEFAULT_WORKERS,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever is in --out.")] = False,
) -> None:
    """Learn a small saliency network from the masks of PHOTOS and propose cleaner ones. A run that was stopped goes on when the command is given again.

    The network is then a method for any photos: mcdist proposals make self_trained PHOTOS --option network=OUT/network.safetensors --out DIR
    """
    from mcdist.proposals.self_train import SelfTraining, self_train

    settings = SelfTraining(backbone=backbone, weights=weights, precision=precision, size_px=size_px, num_rounds=rounds, num_steps=steps, seed=seed)
    done = self_train(photos, masks=masks, out=out, settings=settings, device=device, num_workers=workers, overwrite=overwrite, say=typer.echo)
    typer.echo(f"network: {done.network}")
    typer.echo(f"masks: {done.masks.folder.root}, {done.masks.summary.num_photos:,} photos, {done.masks.summary.mean_foreground_share:.1%} of the area")


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


@proposals.command("evaluate")
def evaluate_command(
    masks: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of proposals, or of any masks.", show_default=False)],
    truth: Annotated[Path | None, typer.Option(metavar="DIR", help="Ground truth: the photo's path with .png, class ids.")] = None,
    background: Annotated[str, typer.Option(metavar="IDS", help="Ids of the ground truth that are background.")] = "0",
    void: Annotated[str, typer.Option(metavar="IDS", help="Ids that count nowhere.")] = "255",
    foreground: Annotated[str, typer.Option(metavar="IDS", help="Ids that are objects, others count nowhere; empty: all others are objects.")] = "",
    confidence: Annotated[Path | None, typer.Option(metavar="DIR", help="Confidence maps (make --confidence), for max-F and mean absolute error.")] = None,
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
    from mcdist.proposals.evaluate_folder import folder_facts, judge_folder, option_texts, stability
    from mcdist.proposals.registry import make_method
    from mcdist.proposals.truth import Truth
    from mcdist.report.progress import LINE_EVERY_S, progress_bar

    wanted = (
        None
        if truth is None
        else Truth(
            truth, background=read_ids(background, key="--background"), void=read_ids(void, key="--void"), foreground=read_ids(foreground, key="--foreground")
        )
    )
    with progress_bar("Judging", total=limit or len(list(masks.rglob("*.png"))), line_every_s=LINE_EVERY_S) as tick:
        judged = judge_folder(masks, truth=wanted, confidence=confidence, limit=limit, tick=tick)
    facts = folder_facts(masks)
    values = dict(judged.values)
    if photos is not None and num_stability and (method or facts):
        name = method or facts["method"]
        options = read_options(option) or (option_texts(facts["parameters"]) if not method else {})
        with progress_bar("Asking again", total=num_stability, line_every_s=LINE_EVERY_S) as tick:
            values |= stability(make_method(name, device=device, options=options), photos, num=num_stability, tick=tick)
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
    from mcdist.data.picture_folder import pictures_in
    from mcdist.proposals.evaluate_folder import photo_of, read_instances, spread
    from mcdist.proposals.read_photo import read_photo
    from mcdist.report.contact_sheet import Tile, write_contact_sheet

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


def read_ids(text: str, *, key: str) -> tuple[int, ...]:
    """`1,2,3` as numbers in 0..255; none for an empty text."""
    listed = [part for part in text.split(",") if part]
    if not all(part.isdecimal() and int(part) <= 255 for part in listed):
        raise ConfigError(f"{key} wants ids in 0..255 such as 0,255, got {text!r}")
    return tuple(int(part) for part in listed)
