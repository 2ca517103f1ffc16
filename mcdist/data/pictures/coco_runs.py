"""COCO's run lengths: a mask as lengths of 0s and 1s by turns, column by column, as a list or as COCO's compressed text. Needs no pycocotools."""

from collections.abc import Sequence
from typing import Any

import numpy
from jaxtyping import Bool, Int

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
    """Run lengths of COCO's compressed text: 5 bits a character from code 48 on, and a bit 5 that says that more follow; signed, and
    from the fourth run on a difference."""
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


def runs_of_mask(mask: Bool[numpy.ndarray, "H W"]) -> Int[numpy.ndarray, " R"]:
    """The inverse of `mask_of_runs`; the first run is of 0s, and may be 0 long."""
    flat = mask.T.reshape(-1)
    edges = numpy.concatenate([[0], numpy.flatnonzero(flat[1:] != flat[:-1]) + 1, [len(flat)]])
    runs = numpy.diff(edges)
    return numpy.concatenate([[0], runs]) if len(flat) and flat[0] else runs


def text_of_runs(runs: Int[numpy.ndarray, " R"]) -> str:
    """The inverse of `runs_of`: COCO's compressed text, the same bytes as pycocotools'. All runs at once, a pass for each 5 bits of the longest."""
    left = runs.astype(numpy.int64)
    left[3:] -= runs[1:-2]
    codes, counts = [], []
    goes_on = numpy.ones(len(left), dtype=bool)
    while goes_on.any():
        counts.append(goes_on)
        low = left & 31
        left = left >> 5
        goes_on = goes_on & (left != numpy.where(low & 16, -1, 0))
        codes.append(48 + low + 32 * goes_on)
    written = numpy.stack(counts, axis=1) if counts else numpy.zeros((0, 1), dtype=bool)
    return numpy.stack(codes, axis=1)[written].astype(numpy.uint8).tobytes().decode("ascii") if codes else ""
