"""Photo files for segmenting: read, decoded and resized by worker processes, in the batches that are asked for. What cannot be read is a reason, no error."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from mcdist.data.loader import load_requests
from mcdist.data.pictures.header import read_photo_header
from mcdist.data.pictures.photo import decode_upright
from mcdist.data.pictures.regular_file import read_regular
from mcdist.segments.windows import canvas_size

PREFETCH = 2
"""Batches that each worker holds ready."""
SHOWN_MAX_PX = 1600
"""Long side of an overlay, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """`size_px`: photos are resized to its square, as for the catalogue. `window_px`: larger ones are seen through windows; 0 for never."""

    size_px: int
    stride: int
    window_px: int = 0
    with_shown: bool = True
    """Whether overlays are asked for."""


@dataclass(frozen=True, slots=True)
class PhotoImage:
    """A photo ready for the encoder: `image` at size_px squared, or a larger canvas; `shown` for its overlay; width and height of the upright photo."""

    image: UInt8[Tensor, "3 h w"]
    shown: UInt8[numpy.ndarray, "y x 3"] | None
    width: int
    height: int
    is_canvas: bool = False


@dataclass(frozen=True, slots=True)
class NoPhoto:
    """Why a file is no photo that can be segmented; completes "the photo ..."."""

    reason: str


class PhotoFiles(Dataset[PhotoImage]):
    """Photos by index. Paths are text, for there may be a million."""

    def __init__(self, paths: Sequence[str], *, sizes: Sizes) -> None:
        self.paths, self.sizes = paths, sizes

    def __getitems__(self, indices: list[int]) -> list[PhotoImage | NoPhoto]:
        """A batch."""
        return [read_image(Path(self.paths[index]), sizes=self.sizes) for index in indices]


def photo_batches(paths: Sequence[str], *, batches: list[list[int]], sizes: Sizes, num_workers: int) -> Generator[list[PhotoImage | NoPhoto], None, None]:
    """The photos of each batch, in order. Without workers this process decodes. Closing the generator ends the workers.

    Raises:
        MachineError: a worker died.
    """
    loader: Any = load_requests(PhotoFiles(paths, sizes=sizes), batches=batches, num_workers=min(num_workers, len(batches)), prefetch=PREFETCH)
    yield from iter(loader)


def read_image(path: Path, *, sizes: Sizes) -> PhotoImage | NoPhoto:
    """The photo at `path`, ready for the encoder."""
    pixels = read_pixels(path)
    return pixels if isinstance(pixels, NoPhoto) else image_of(pixels, sizes=sizes)


def read_pixels(path: Path) -> UInt8[numpy.ndarray, "H W 3"] | NoPhoto:
    """The photo at `path`, upright, RGB: a JPEG or PNG of any size that a photo may have, grey, palette, CMYK or with opacity."""
    try:
        content = read_regular(path)
        read_photo_header(content)
    except OSError as error:
        return NoPhoto(f"cannot be read ({error.strerror}); check the file and its permissions")
    except ValueError as error:
        return NoPhoto(str(error))
    try:
        return decode_upright(content)
    except ValueError as error:
        return NoPhoto(f"is damaged ({error}); replace it or leave it out")


def image_of(pixels: UInt8[numpy.ndarray, "H W 3"], *, sizes: Sizes) -> PhotoImage:
    """A photo's pixels, ready: bilinear with antialiasing, as the photos of a feature store are resized."""
    height, width = pixels.shape[:2]
    canvas = canvas_size(height, width=width, window_px=sizes.window_px, side=sizes.size_px, stride=sizes.stride)
    photo = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    image = interpolate(photo, size=canvas or (sizes.size_px, sizes.size_px), mode="bilinear", antialias=True)[0]
    return PhotoImage(image=image, shown=_shown(pixels) if sizes.with_shown else None, width=width, height=height, is_canvas=canvas is not None)


def _shown(pixels: UInt8[numpy.ndarray, "H W 3"]) -> UInt8[numpy.ndarray, "y x 3"]:
    side = max(pixels.shape[:2])
    if side <= SHOWN_MAX_PX:
        return pixels
    height, width = (max(1, round(length * SHOWN_MAX_PX / side)) for length in pixels.shape[:2])
    return numpy.asarray(Image.fromarray(numpy.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BOX))
