"""The options that commands about proposals and shards share, with their help; and how options are read that are typed as one text."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcdist.errors import ConfigError
from mcdist.machine.cores import num_cores

DEFAULT_WORKERS = num_cores()


class Refine(StrEnum):
    """How the objects' edges are drawn to the photo's edges."""

    none = "none"
    guided = "guided"
    crf = "crf"


Photos = Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photos (JPEG, 8-bit PNG), nested or not.", show_default=False)]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the method; may be given several times.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Worker processes; they change the time, never a byte.")]
Device = Annotated[str, typer.Option("--device", help="cpu, or cuda for methods that use torch.")]
RefineOption = Annotated[Refine, typer.Option("--refine", help="Draw the objects' edges to the photo's.")]


def read_options(given: list[str] | None) -> dict[str, str]:
    """`key=value` texts as a dictionary; ConfigError for one without `=`."""
    options = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--option must be KEY=VALUE, got {text!r}")
        options[key] = value
    return options


def read_part(text: str) -> tuple[int, int]:
    """`K/N` as two numbers, 1 <= K <= N."""
    number, _, total = text.partition("/")
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise ConfigError(f"--part must be K/N with 1 <= K <= N, such as 3/16, got {text!r}")
    return int(number), int(total)


def read_ids(text: str, *, key: str) -> tuple[int, ...]:
    """`1,2,3` as numbers in 0..255; an empty text is an empty tuple."""
    listed = [part for part in text.split(",") if part]
    if not all(part.isdecimal() and int(part) <= 255 for part in listed):
        raise ConfigError(f"{key} must be ids in 0..255, such as 0,255, got {text!r}")
    return tuple(int(part) for part in listed)
