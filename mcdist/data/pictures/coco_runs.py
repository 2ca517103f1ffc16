"""COCO's run lengths: a mask as lengths of 0s and 1s by turns, column by column, as a list or as COCO's compressed text. Needs no pycocotools."""

from collections.abc import Sequence
from typing import Any

import numpy
from jaxtyping import Bool

from mcdist.errors import DataError


def check_runs(counts: Sequence[Any], *, width: int, height: int, where: str) -> None:
    """Raises DataError where `counts` are no run lengths, or do not add up to the size."""
    if any(type(run) is not int or run < 0 for run in counts) or sum(counts) != width * height:
        raise DataError(f"{where}: the run lengths do not add up to the photo's {width * height} pixels; make them again")


def mask_of_runs(counts: Sequence[int], *, width: int, height: int, where: str) -> Bool[numpy.ndarray, "H W"]:
    """The mask of run lengths; DataError where they do not add up to the size."""
    check_runs(counts, width=width, height=height, where=where)
    flat = numpy.repeat(numpy.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def runs_of(text: Any, *, where: str) -> list[int]:
    """Run lengths of COCO's compressed text: 5 bits a character from code 48 on, bit 5 goes on, the rest is signed, and from the fourth run on a difference."""
    content = text.encode("latin-1", errors="replace") if isinstance(text, str) else b""
    runs: list[int] = []
    number = shift = 0
    for byte in content:
        code = byte - 48
        if not 0 <= code < 64:
            raise DataError(f"{where}: the run lengths' text holds {chr(byte)!r}, which COCO's does not; make them again")
        number |= (code & 31) << shift
        shift += 5
        if not code & 32:
            number -= (1 << shift) if code & 16 else 0
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    if shift or not runs:
        raise DataError(f"{where}: the run lengths' text is cut or empty; make them again")
    return runs
