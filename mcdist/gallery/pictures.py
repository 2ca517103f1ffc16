"""Pictures: objects and photos as the page shows them, cut out of the shards' photos, with the object's outline."""

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy
from jaxtyping import Bool, Int, UInt8
from PIL import Image
from scipy import ndimage

from mcdist.catalogue.catalogue import Catalogue
from mcdist.data.pictures.jpeg import encode_jpeg
from mcdist.data.pictures.resize import resize_nearest
from mcdist.errors import McdistError
from mcdist.gallery.thumbnails import Thumbnails
from mcdist.report.pictures.cut_out import cut_out

SIDE_PX = 128
"""Of a thumbnail."""

PHOTO_PX = 1280
"""The longer side of a photo, at most, as the page shows it."""

PHOTO_PX_MIN = 720
"""The longer side of a photo with an outline, at least: on fewer pixels the outline would be coarse."""

MOSAIC_PX, MOSAIC_GAP_PX, MOSAIC_COLUMNS = 112, 3, 4
MOSAIC_GROUND = (139, 149, 163)

QUALITY = 84
NUM_AT_ONCE = 4
"""Photos decoded at the same time, so that memory stays bounded whatever a page asks for."""

DIM = 0.62
"""How bright the surroundings of an object are beside it."""

INNER, OUTER = (255, 255, 255), (20, 26, 36)
"""The outline: light inside, dark outside, so that it is seen on any ground."""

NUM_STRIPES = 64

Pixels = UInt8[numpy.ndarray, "H W 3"]
ReadPhoto = Callable[[int], numpy.ndarray]
"""The RGB pixels of a photo of the data set, by index."""
MasksOf = Callable[[int], numpy.ndarray | None]
"""The map of object numbers of a photo, at any size; None where it is not known."""


class Pictures:
    """Makes pictures of a catalogue's objects; thumbnails are kept."""

    def __init__(self, catalogue: Catalogue, *, read_photo: ReadPhoto, masks_of: MasksOf, folder: Path) -> None:
        self._objects, self._read_photo, self._masks_of = catalogue.objects, read_photo, masks_of
        self._thumbnails = Thumbnails(folder, num_objects=len(catalogue.objects))
        self._by_photo = numpy.argsort(self._objects.photo, kind="stable")
        self._photo_starts = numpy.searchsorted(self._objects.photo[self._by_photo], numpy.arange(len(catalogue.photos) + 1))
        self._at_once = threading.BoundedSemaphore(NUM_AT_ONCE)
        self._stripes = [threading.Lock() for _ in range(NUM_STRIPES)]

    def thumbnail(self, row: int) -> bytes:
        """JPEG of one object; where it was not made before, those of all objects of its photo are made.

        Raises:
            DataError: the photo cannot be read.
            MachineError: the disk refuses.
        """
        kept = self._thumbnails.get(row)
        if kept is not None:
            return kept
        photo = int(self._objects.photo[row])
        with self._stripes[photo % NUM_STRIPES]:
            kept = self._thumbnails.get(row)
            if kept is None:
                made = self._thumbnails_of(photo)
                self._thumbnails.put(made)
                kept = made[row]
            return kept

    def mosaic(self, rows: Sequence[int]) -> bytes:
        """JPEG of MOSAIC_COLUMNS thumbnails a row, side by side: a card of the gallery in one request."""
        pitch = MOSAIC_PX + MOSAIC_GAP_PX
        num_rows = -(-len(rows) // MOSAIC_COLUMNS)
        picture = Image.new("RGB", (MOSAIC_COLUMNS * pitch - MOSAIC_GAP_PX, num_rows * pitch - MOSAIC_GAP_PX), MOSAIC_GROUND)
        for place, row in enumerate(rows):
            thumbnail = Image.open(io.BytesIO(self.thumbnail(row)), formats=("JPEG",))
            small = thumbnail.resize((MOSAIC_PX, MOSAIC_PX), Image.Resampling.BILINEAR)
            picture.paste(small, (place % MOSAIC_COLUMNS * pitch, place // MOSAIC_COLUMNS * pitch))
        return jpeg(numpy.array(picture))

    def photo_with(self, row: int) -> bytes:
        """JPEG of the whole photo of an object, with the object's outline."""
        photo = int(self._objects.photo[row])
        with self._at_once:
            pixels = fitted(self._read_photo(photo), longer_px=PHOTO_PX, longer_px_min=PHOTO_PX_MIN)
            masks = self._masks_of(photo)
            if masks is None:
                return jpeg(pixels)
            height, width = pixels.shape[:2]
            soft = Image.fromarray((masks == self._objects.number[row]).astype(numpy.uint8) * numpy.uint8(255)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
            return jpeg(outlined(pixels, inside=numpy.array(soft) > 127, width_px=2))

    def warm(self, rows: Iterable[int]) -> None:
        """Make the thumbnails of these objects that are not there yet, in a thread of its own; a photo that cannot be read is left to who asks for it."""

        def work() -> None:
            for row in rows:
                with suppress(McdistError):
                    self.thumbnail(row)

        threading.Thread(target=work, name="thumbnails", daemon=True).start()

    def _thumbnails_of(self, photo: int) -> dict[int, bytes]:
        rows = self._by_photo[self._photo_starts[photo] : self._photo_starts[photo + 1]]
        with self._at_once:
            pixels, masks = fitted(self._read_photo(photo), longer_px=PHOTO_PX), self._masks_of(photo)
            if masks is not None:
                masks = resize_nearest(masks, height=pixels.shape[0], width=pixels.shape[1])
            return {int(row): jpeg(self._cut_out(pixels, row=int(row), masks=masks)) for row in rows}

    def _cut_out(self, pixels: Pixels, *, row: int, masks: Int[numpy.ndarray, "H W"] | None) -> UInt8[numpy.ndarray, "side side 3"]:
        top, left, bottom, right = self._objects.box[row].tolist()
        box = (top, left, bottom, right)
        square = numpy.array(cut_out((pixels, box), side_px=SIDE_PX))
        if masks is None:
            return square
        inside = (masks == self._objects.number[row]).astype(numpy.uint8)[..., None].repeat(3, axis=2) * numpy.uint8(255)
        return outlined(square, inside=numpy.array(cut_out((inside, box), side_px=SIDE_PX))[..., 0] > 127, width_px=1)


def fitted(pixels: Pixels, *, longer_px: int, longer_px_min: int = 0) -> UInt8[numpy.ndarray, "h w 3"]:
    """The photo, shrunk or enlarged so that its longer side is between the two."""
    longer = max(pixels.shape[:2])
    if longer_px_min <= longer <= longer_px:
        return pixels
    scale = (longer_px if longer > longer_px else longer_px_min) / longer
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return numpy.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))


def outlined(pixels: Pixels, *, inside: Bool[numpy.ndarray, "H W"], width_px: int) -> Pixels:
    """The picture with the outline of what is inside, around which it is darker; as it is where nothing is inside."""
    if not inside.any():
        return pixels
    shown = numpy.where(inside[..., None], pixels, (DIM * pixels).astype(numpy.uint8))
    grown = ndimage.binary_dilation(inside, iterations=width_px)
    shown[grown & ~inside] = OUTER
    shown[inside & ~ndimage.binary_erosion(inside, iterations=width_px, border_value=1)] = INNER
    return shown


def jpeg(pixels: Pixels) -> bytes:
    """The picture as JPEG, as good as the page shows it."""
    return encode_jpeg(pixels, quality=QUALITY)
