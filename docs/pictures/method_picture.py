"""The picture of the method, as an SVG: one generated photo, its two views, their real pixel embeddings and the prototypes of their objects."""

import base64
import io
from dataclasses import dataclass

import numpy
import torch
from PIL import Image, ImageEnhance
from torch.nn.functional import interpolate, normalize

from mcdist.model.encoder import Encoder
from mcdist.ops import mask_pool
from mcdist.trained import embed_photo

INK, SOFT, LINE, PAPER, CARD = "#1b2330", "#5d6877", "#c9d0d9", "#f6f7f9", "#ffffff"
OBJECTS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7")
SIDE = 128


@dataclass(frozen=True, slots=True)
class View:
    """A view as the encoder gets it: uint8 RGB, and its instance map."""

    image: numpy.ndarray
    instances: numpy.ndarray


def method_svg(photo: numpy.ndarray, instances: numpy.ndarray, *, encoder: Encoder) -> str:
    """The whole picture for a photo (uint8 RGB [H, W, 3]) with at least two objects in its instance map."""
    query, key = _views(photo, instances)
    query_map, key_map = _embeddings(encoder, query), _embeddings(encoder, key)
    colours = _as_colours(torch.cat([query_map, key_map]))
    prototypes = _prototypes(key_map, key)
    whole = _square(photo), _square(instances, nearest=True)
    body = "".join(
        [
            _picture(24, 52, _png(whole[0]), "photo"),
            _picture(24, 238, _png(_tinted(*whole)), "proposed masks"),
            _arrow(88, 182, 88, 212),
            _arrow(156, 302, 196, 176, bend=True),
            _arrow(156, 302, 196, 302),
            _picture(200, 52, _png(_tinted(query.image, query.instances)), "query view"),
            _picture(200, 238, _png(_tinted(key.image, key.instances)), "key view"),
            _arrow(330, 116, 358, 116),
            _arrow(330, 302, 358, 302),
            _box(362, 88, 104, "query", "encoder"),
            _box(362, 274, 104, "key", "encoder"),
            _arrow(414, 148, 414, 270, dashed=True),
            _text(420, 206, "moving", size=11.5, colour=SOFT),
            _text(420, 221, "average", size=11.5, colour=SOFT),
            _arrow(468, 116, 496, 116),
            _arrow(468, 302, 496, 302),
            _picture(500, 52, _png(colours[0]), "pixel embeddings"),
            _picture(500, 238, _png(colours[1]), "mean over each mask"),
            _arrow(630, 302, 684, 302),
            _prototype_column(690, 276, prototypes),
            _text(712, 388, "prototypes", size=12.5, anchor="middle"),
            _bank(800, 238),
            _contrast(668, 52),
            _arrow(630, 116, 664, 116),
            _arrow(712, 270, 712, 186),
            _arrow(832, 234, 832, 186),
        ]
    )
    defs = (
        f'<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{SOFT}"/></marker>'
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 412" width="960" height="412" role="img" '
        'aria-label="The method, from a photo and its proposed masks to the contrast of pixels with prototypes" '
        'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">'
        f'<defs>{defs}</defs><rect width="960" height="412" rx="14" fill="{PAPER}"/>{body}</svg>\n'
    )


def _views(photo: numpy.ndarray, instances: numpy.ndarray) -> tuple[View, View]:
    """Two crops with different colours; the key is mirrored."""
    height, width = instances.shape
    side = round(0.86 * min(height, width))
    first = slice(0, side), slice(0, side)
    second = slice(height - side, height), slice(width - side, width)
    query = Image.fromarray(photo[first])
    key = Image.fromarray(numpy.ascontiguousarray(photo[second][:, ::-1]))
    query = ImageEnhance.Color(ImageEnhance.Brightness(query).enhance(1.12)).enhance(0.55)
    key = ImageEnhance.Contrast(ImageEnhance.Color(key).enhance(1.5)).enhance(1.15)
    return (
        View(_square(numpy.asarray(query)), _square(instances[first], nearest=True)),
        View(_square(numpy.asarray(key)), _square(instances[second][:, ::-1], nearest=True)),
    )


def _square(pixels: numpy.ndarray, *, nearest: bool = False) -> numpy.ndarray:
    resized = Image.fromarray(pixels.astype(numpy.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS)
    return numpy.asarray(resized)


def _embeddings(encoder: Encoder, view: View) -> torch.Tensor:
    """Unit pixel embeddings [1, D, h, w]."""
    return normalize(embed_photo(encoder, torch.from_numpy(view.image.copy()).permute(2, 0, 1)).features, dim=1)


def _as_colours(embeddings: torch.Tensor) -> list[numpy.ndarray]:
    """Each map as a picture: its first three principal components as red, green and blue."""
    vectors = embeddings.permute(0, 2, 3, 1).flatten(0, 2)
    _, _, components = torch.pca_lowrank(vectors, q=3, niter=8)
    shown = interpolate((vectors @ components).view(len(embeddings), *embeddings.shape[2:], 3).permute(0, 3, 1, 2), size=(SIDE, SIDE), mode="nearest")
    low, high = shown.flatten(2).quantile(0.02, 2).amin(0), shown.flatten(2).quantile(0.98, 2).amax(0)
    scaled = ((shown - low[:, None, None]) / (high - low)[:, None, None]).clamp(0, 1)
    return [(60 + 180 * picture).byte().permute(1, 2, 0).numpy() for picture in scaled]


def _prototypes(embeddings: torch.Tensor, view: View) -> list[tuple[str, list[float]]]:
    """The objects of the view with the first 12 numbers of their prototype."""
    num_objects = int(view.instances.max())
    pooled = mask_pool(embeddings, torch.from_numpy(view.instances.astype(numpy.int16))[None], max_objects=num_objects)
    return [(OBJECTS[index % len(OBJECTS)], pooled.prototypes[index, :12].tolist()) for index in range(num_objects) if pooled.num_pixels[index]]


def _tinted(image: numpy.ndarray, instances: numpy.ndarray) -> numpy.ndarray:
    shown = image.astype(float)
    for number in range(1, int(instances.max()) + 1):
        colour = numpy.array([int(OBJECTS[(number - 1) % len(OBJECTS)][place : place + 2], 16) for place in (1, 3, 5)])
        shown[instances == number] = 0.45 * shown[instances == number] + 0.55 * colour
    return shown.astype(numpy.uint8)


def _png(pixels: numpy.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).quantize(96).save(content, "png", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _picture(x: float, y: float, png: str, caption: str) -> str:
    return (
        f'<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" href="data:image/png;base64,{png}" preserveAspectRatio="none"/>'
        f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" fill="none" stroke="{LINE}"/>{_text(x + SIDE / 2, y - 10, caption, size=13, anchor="middle")}'
    )


def _text(x: float, y: float, text: str, *, size: float, anchor: str = "start", colour: str = INK, weight: int = 400) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">{text}</text>'


def _box(x: float, y: float, width: float, *lines: str) -> str:
    rows = "".join(_text(x + width / 2, y + 24 + 17 * place, line, size=13.5, anchor="middle", weight=600) for place, line in enumerate(lines))
    return f'<rect x="{x}" y="{y}" width="{width}" height="56" rx="9" fill="{CARD}" stroke="{LINE}" stroke-width="1.5"/>{rows}'


def _arrow(x1: float, y1: float, x2: float, y2: float, *, bend: bool = False, dashed: bool = False) -> str:
    path = f"M{x1} {y1}C{(x1 + x2) / 2} {y1} {(x1 + x2) / 2} {y2} {x2} {y2}" if bend else f"M{x1} {y1}L{x2} {y2}"
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<path d="{path}" fill="none" stroke="{SOFT}" stroke-width="1.6" marker-end="url(#tip)"{dash}/>'


def _prototype_column(x: float, y: float, prototypes: list[tuple[str, list[float]]]) -> str:
    """One row an object: twelve numbers of its vector, in the object's colour."""
    rows = []
    for place, (colour, vector) in enumerate(prototypes[:4]):
        largest = max(abs(value) for value in vector)
        cells = "".join(
            f'<rect x="{x + 3.6 * column:.1f}" y="{y + 26 * place}" width="3.6" height="18" fill="{colour}" opacity="{abs(value) / largest:.2f}"/>'
            for column, value in enumerate(vector)
        )
        rows.append(f'{cells}<rect x="{x}" y="{y + 26 * place}" width="43.2" height="18" fill="none" stroke="{colour}"/>')
    return "".join(rows)


def _bank(x: float, y: float) -> str:
    rows = "".join(
        f'<rect x="{x + 10}" y="{y + 12 + 15 * place}" width="44" height="9" rx="2" fill="{SOFT}" opacity="{0.55 - 0.055 * place:.2f}"/>' for place in range(7)
    )
    frame = f'<rect x="{x}" y="{y}" width="64" height="{SIDE}" rx="9" fill="{CARD}" stroke="{LINE}" stroke-width="1.5"/>'
    return frame + rows + _text(x + 32, y + SIDE + 22, "memory bank", size=12.5, anchor="middle")


def _contrast(x: float, y: float) -> str:
    lines = (
        _text(x + 18, y + 34, "Every object pixel must pick", size=14.5, weight=600),
        _text(x + 18, y + 54, "its own object's prototype", size=14.5, weight=600),
        _text(x + 18, y + 82, "among those of all other objects in", size=12.5, colour=SOFT),
        _text(x + 18, y + 100, "the batch and in the memory bank.", size=12.5, colour=SOFT),
    )
    return f'<rect x="{x}" y="{y}" width="268" height="{SIDE}" rx="9" fill="{CARD}" stroke="#2f7fd1" stroke-width="2"/>{"".join(lines)}'
