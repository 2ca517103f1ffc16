"""mcdist search: the objects of a run's catalogue that are most like what is at a point of a photo."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcdist.cli.run_arguments import RunFolder
from mcdist.errors import ConfigError

if TYPE_CHECKING:
    from mcdist.loading import Hit, LoadedRun, SearchResult


def search_command(
    run: RunFolder,
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A JPEG or PNG.", show_default=False)],
    at: Annotated[str, typer.Option("--at", metavar="X,Y", help="Column and row in the upright photo, in px from the top left.", show_default=False)],
    num: Annotated[int, typer.Option(min=1, help="Objects to find.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the objects that were found: .png, .jpg or .webp.", show_default=False)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find the objects nearest to a point of a photo: to the segment there, or to the pixel itself where there is none.

    RUN needs a catalogue (mcdist cluster RUN).

    Example: mcdist search runs/demo photo.jpg --at 120,80
    """
    from mcdist.choices import Device, require_choice
    from mcdist.loading import load_run
    from mcdist.report.console import printable
    from mcdist.segments.strip import picture_format

    point = _point(at)
    if out is not None:
        picture_format(out)  # a wrong ending is an error before anything is computed
    require_choice("--device", device, choices=Device)
    loaded = load_run(run, device=device)  # type: ignore[arg-type]  # it was checked
    found = loaded.search(photo, point, num=num)
    if out is not None:
        _draw(loaded, photo=photo, point=point, found=found, out=out)
    paths = [loaded.photo_path(hit.photo_index) for hit in found.hits]
    if as_json:
        typer.echo(json.dumps(_as_json(found, paths=paths), indent=1))
        return
    typer.echo(f"{photo} at {at}: {_searched(found)}")
    shown = [printable(path or hit.photo) for hit, path in zip(found.hits, paths, strict=True)]
    width = max(map(len, ("photo", *shown)))
    typer.echo(f"similarity  {'photo':{width}}  box (left, top, right, bottom) %  class")
    for hit, name in zip(found.hits, shown, strict=True):
        typer.echo(f"{hit.similarity:10.3f}  {name:{width}}  {_box(hit):31}  {hit.class_name}")
    if out is not None:
        typer.echo(f"picture: {out}")


def _point(text: str) -> tuple[int, int]:
    x, comma, y = text.partition(",")
    if not comma or not all(part.strip().removeprefix("-").isdecimal() for part in (x, y)):
        raise ConfigError(f"--at must be X,Y in whole px, such as 120,80, got {text!r}")
    return int(x), int(y)


def _searched(found: "SearchResult") -> str:
    segment = found.segment
    return "no segment, searched with the pixel" if segment is None else f"segment {segment.number}, {segment.class_name} ({100 * segment.confidence:.0f} %)"


def _box(hit: "Hit") -> str:
    top, left, bottom, right = (round(100 * share) for share in hit.box)
    return f"{left}, {top}, {right}, {bottom}"


def _as_json(found: "SearchResult", *, paths: list[str]) -> dict[str, Any]:
    segment = found.segment
    return {
        "segment": segment and {"number": segment.number, "cluster": segment.cluster, "class": segment.class_name, "confidence": round(segment.confidence, 4)},
        "hits": [
            {
                "object": hit.object,
                "photo": hit.photo,
                "path": path or None,
                "photo_index": hit.photo_index,
                "box_tlbr": [round(share, 5) for share in hit.box],
                "similarity": round(hit.similarity, 5),
                "cluster": hit.cluster,
                "class": hit.class_name,
            }
            for hit, path in zip(found.hits, paths, strict=True)
        ],
    }


def _draw(loaded: "LoadedRun", *, photo: Path, point: tuple[int, int], found: "SearchResult", out: Path) -> None:
    from mcdist.loading import pixels_at
    from mcdist.run_dir import write_atomically
    from mcdist.segments.strip import picture_format, search_strip

    shown = [((loaded.photo(hit.photo_index), hit.box), f"{hit.similarity:.2f} {hit.class_name}") for hit in found.hits]
    write_atomically(out, search_strip(pixels_at(photo), point=point, found=shown, kind=picture_format(out)))
