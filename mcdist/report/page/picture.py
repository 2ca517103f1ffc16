"""Picture: a PNG of the run folder as text for a page, made smaller on the way."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mcdist.errors import DataError

WEBP_QUALITY = 86
"""Photos look the same at a tenth of a PNG's size, so that a page with a hundred of them stays below 10 MB."""


@dataclass(frozen=True, slots=True)
class Picture:
    """`key` names it on the page; `source` is the whole picture as a data URL; `caption` what else there is to say."""

    key: str
    source: str
    caption: str = ""


def picture(path: Path, *, key: str, caption: str = "") -> Picture:
    """The PNG at `path` as WebP; a file that is no picture is passed on as it is, for a browser to say so.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the picture {path}: {error.strerror}; run: mcdist evaluate RUN") from error
    smaller = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.save(smaller, format="WEBP", quality=WEBP_QUALITY, method=2)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Picture(key, f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}", caption)
    return Picture(key, f"data:image/webp;base64,{base64.b64encode(smaller.getvalue()).decode('ascii')}", caption)
