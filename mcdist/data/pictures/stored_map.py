"""Stored map: the 8-bit grey PNG of an instance map or of ground truth. Without torch, so that small programs may write it."""

import numpy

from mcdist.components import VOID
from mcdist.data.pictures.grey_png import encode_grey_png

STORED_VOID = 255
MAX_STORED_OBJECTS = 254


def encode_map(values: numpy.ndarray) -> bytes:
    """8-bit grey PNG of a map `[H, W]` with values 0..254 and 255 or -1 for void; the same bytes for the same map."""
    if values.max(initial=0) > STORED_VOID or values.min(initial=0) < VOID:
        raise ValueError(f"a stored map holds -1..{STORED_VOID}, got {values.min()}..{values.max()}")
    return encode_grey_png(numpy.where(values == VOID, STORED_VOID, values).astype(numpy.uint8))
