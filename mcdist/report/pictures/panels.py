"""Panels: each evaluated photo as one picture: photo, proposals, predicted saliency, embedding, clusters, ground truth."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFont

from mcdist.data.pictures.picture_png import QUICK_LEVEL, encode_picture_png
from mcdist.records import Panel
from mcdist.report.palette import PROPOSALS, VOID, class_colours, rgb
from mcdist.report.pictures.strips import write_strips

COLUMNS = ("photo", "proposals", "predicted saliency", "embedding", "clusters", "ground truth")
"""What a strip shows, left to right; the embedding and the last only where they are known."""

_HEIGHT_PX, _WIDTH_MAX_PX, _GAP_PX, _TITLE_PX = 160, 320, 6, 20
_TITLE_RGBA = (125, 135, 150, 255)
_VOID_CLASS = 255
_OPACITY = 0.58
_HEAT = ((0.0, (13, 8, 35)), (0.3, (87, 21, 126)), (0.55, (183, 55, 121)), (0.8, (252, 137, 97)), (1.0, (252, 253, 191)))
"""Dark to bright with even steps of lightness, readable in grey."""


def save_panels(panels: Iterable[Panel], folder: Path, *, classes: tuple[str, ...]) -> list[Path]:
    """Write `NN_KEY.png` for each panel (NN its place, KEY without odd characters) and remove those of an earlier evaluation."""
    strips = ((f"{place:02d}_{_safe_key(panel.key)}.png", panel_strip(panel, classes=classes)) for place, panel in enumerate(panels))
    return write_strips(strips, folder=folder, what="panels", strips_in=panel_files)


def panel_files(folder: Path) -> list[Path]:
    """The panels in `folder`, in order; none where there is no folder."""
    return sorted(path for path in folder.glob("*.png") if re.match(r"\d{2,}_", path.name))


def panel_key(path: Path) -> str:
    """The photo's key in a panel's file name."""
    return path.stem.partition("_")[2]


def panel_strip(panel: Panel, *, classes: tuple[str, ...]) -> bytes:
    """The pictures of COLUMNS side by side as PNG, 160 px high (320 px wide at most), each with its title; transparent between them."""
    photo = Image.fromarray(panel.photo)
    scale = min(_HEIGHT_PX / photo.height, _WIDTH_MAX_PX / photo.width)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    base = numpy.asarray(photo.resize(size, Image.Resampling.LANCZOS), dtype=numpy.float32)
    colours = _class_table(len(classes))
    pictures = (
        base,
        _proposals(base, _resized(panel.proposals, size)),
        _heat(base, _resized(panel.saliency, size, smooth=True)),
        None if panel.embedding is None else _embedding(panel.embedding, size),
        _classes(base, _resized(panel.clusters, size), colours),
        None if panel.truth is None else _classes(base, _resized(panel.truth, size), colours),
    )
    return _side_by_side([(title, picture) for title, picture in zip(COLUMNS, pictures, strict=True) if picture is not None], size=size)


def _embedding(colours: numpy.ndarray, size: tuple[int, int]) -> numpy.ndarray:
    return numpy.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC), dtype=numpy.float32)


def _resized(values: numpy.ndarray, size: tuple[int, int], *, smooth: bool = False) -> numpy.ndarray:
    image = Image.fromarray(values.astype(numpy.float32 if smooth else numpy.int32))
    return numpy.asarray(image.resize(size, Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST))


def _proposals(base: numpy.ndarray, instances: numpy.ndarray) -> numpy.ndarray:
    table = numpy.array([rgb(colour) for colour in PROPOSALS], dtype=numpy.float32)
    picture = tinted(base, table[(instances - 1) % len(table)], where=instances > 0)
    return _hatched(outlined(picture, instances), where=instances < 0)


def _classes(base: numpy.ndarray, labels: numpy.ndarray, colours: numpy.ndarray) -> numpy.ndarray:
    void = labels == _VOID_CLASS
    objects = (labels > 0) & ~void
    return _hatched(outlined(tinted(base, colours[labels], where=objects), numpy.where(objects, labels, 0)), where=void)


def _heat(base: numpy.ndarray, saliency: numpy.ndarray) -> numpy.ndarray:
    """The probability as heat, over a trace of the photo for orientation; not finite counts as 0."""
    probability = numpy.clip(numpy.nan_to_num(saliency, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    stops = [stop for stop, _ in _HEAT]
    heat = numpy.stack([numpy.interp(probability, stops, [colour[band] for _, colour in _HEAT]) for band in range(3)], axis=-1)
    return 0.82 * heat + 0.18 * base.mean(axis=-1, keepdims=True)


def tinted(base: numpy.ndarray, colours: numpy.ndarray, *, where: numpy.ndarray) -> numpy.ndarray:
    """Colour where `where` says so; elsewhere the photo, paler, so that the objects stand out."""
    grey = 0.55 * base + 0.45 * base.mean(axis=-1, keepdims=True)
    return numpy.where(where[..., None], (1 - _OPACITY) * base + _OPACITY * colours, 0.8 * grey)


def outlined(picture: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Light lines where objects meet each other or the background."""
    edge = numpy.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= (labels[:, 1:] != labels[:, :-1]) & ((labels[:, 1:] > 0) | (labels[:, :-1] > 0))
    edge[1:, :] |= (labels[1:, :] != labels[:-1, :]) & ((labels[1:, :] > 0) | (labels[:-1, :] > 0))
    return numpy.where(edge[..., None], 0.15 * picture + 0.85 * 255.0, picture)


def _hatched(picture: numpy.ndarray, *, where: numpy.ndarray) -> numpy.ndarray:
    stripes = numpy.less(numpy.indices(where.shape).sum(axis=0) % 8, 2)
    void = numpy.array(rgb(VOID), dtype=numpy.float32)
    shaded = numpy.where(numpy.expand_dims(stripes, -1), void, 0.45 * picture + 0.55 * 0.5 * void)
    return numpy.where(where[..., None], shaded, picture)


def _class_table(num_classes: int) -> numpy.ndarray:
    """A row for every uint8 value; indices beyond the classes are void's grey."""
    rows = [rgb(colour) for colour in class_colours(num_classes)]
    return numpy.array(rows + [rgb(VOID)] * (256 - len(rows)), dtype=numpy.float32)


def _side_by_side(pictures: list[tuple[str, numpy.ndarray]], *, size: tuple[int, int]) -> bytes:
    width, height = size
    strip = Image.new("RGBA", (len(pictures) * (width + _GAP_PX) - _GAP_PX, height + _TITLE_PX))
    draw: Callable[..., None] = ImageDraw.Draw(strip).text
    for place, (title, picture) in enumerate(pictures):
        left = place * (width + _GAP_PX)
        draw((left + width / 2, 2), title, fill=_TITLE_RGBA, font=ImageFont.load_default(13), anchor="ma")
        strip.paste(Image.fromarray(numpy.clip(numpy.rint(picture), 0, 255).astype(numpy.uint8)), (left, _TITLE_PX))
    return encode_picture_png(strip, level=QUICK_LEVEL)


def _safe_key(key: str) -> str:
    return re.sub(r"[^\w\-]", "_", key, flags=re.ASCII)[:80] or "photo"
