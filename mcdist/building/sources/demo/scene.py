"""One generated photo: a textured, cluttered background and one to four deformed, lit, partly hidden objects.

Every colour, of object, background and clutter alike, is drawn from one palette, so that colour says nothing about the class.
"""

from dataclasses import dataclass

import numpy
from jaxtyping import Bool, Float, Int16, UInt8
from PIL import Image

from mcdist.building.sources.demo.shapes import SHAPES, Drawing, Field

Colour = Float[numpy.ndarray, " 3"]
Canvas = Float[numpy.ndarray, "H W 3"]

PALETTE = (
    *("e8dcc4", "c9a66b", "8f5b34", "5a3a2a", "d9765f", "a63d40", "e9a03b", "f0c75e", "8fae5d", "4f7a4a", "2f5d50"),
    *("7fb7a3", "4d8fac", "2c5f8a", "28395c", "8a7fb5", "5d4777", "c98bb0", "ebe7e0", "9aa0a6", "4a4f57", "1f2329"),
)
"""Red, green, blue in hexadecimal."""


REACH = 1.7
"""How far from its centre an object and its shadow may reach, in radii, however they are bent."""

Window = tuple[slice, slice]
"""Rows and columns of a canvas."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A generated photo and its truth: class ids (0 background) and object numbers (0 background, 1.. in drawing order), what is visible of them."""

    photo: UInt8[numpy.ndarray, "H W 3"]
    classes: UInt8[numpy.ndarray, "H W"]
    instances: Int16[numpy.ndarray, "H W"]


def draw_scene(random: numpy.random.Generator, *, size_px: int) -> Scene:
    """Draw one photo of `size_px` x `size_px`. The same generator state gives the same photo. Cost: about 15 ms at 128 px."""
    canvas = _background(random, size_px=size_px)
    for _ in range(int(random.integers(2, 6))):
        _clutter(canvas, random=random, largest=0.16)
    classes = numpy.zeros((size_px, size_px), dtype=numpy.uint8)
    instances = numpy.zeros((size_px, size_px), dtype=numpy.int16)
    for number, (x, y, radius) in enumerate(_places(random, size_px=size_px), start=1):
        chosen = int(random.integers(len(SHAPES)))
        window = _window(x, y=y, reach=REACH * radius, size_px=size_px)
        visible = _object(canvas[window], random=random, chosen=chosen, x=x - window[1].start, y=y - window[0].start, radius_px=radius)
        classes[window][visible], instances[window][visible] = chosen + 1, number
    for _ in range(int(random.integers(0, 3))):
        window, covered = _clutter(canvas, random=random, largest=0.09)
        classes[window][covered], instances[window][covered] = 0, 0
    return Scene(photo=_developed(canvas, random=random), classes=classes, instances=instances)


def smooth_noise(random: numpy.random.Generator, *, size_px: int, cells: int) -> Field:
    """Noise of zero mean and about unit spread that varies over `size_px / cells` pixels."""
    grid = Image.fromarray(random.standard_normal((cells + 2, cells + 2)).astype(numpy.float32))
    return numpy.asarray(grid.resize((size_px, size_px), Image.Resampling.BICUBIC, box=(0.5, 0.5, cells + 1.5, cells + 1.5)), dtype=numpy.float64)


def _window(x: float, *, y: float, reach: float, size_px: int) -> Window:
    """The part of the canvas within `reach` of a point: drawing there alone is several times faster. At least one pixel."""
    rows, columns = (slice(min(max(0, int(centre - reach)), size_px - 1), max(1, min(size_px, int(centre + reach) + 1))) for centre in (y, x))
    return rows, columns


def _places(random: numpy.random.Generator, *, size_px: int) -> list[tuple[float, float, float]]:
    """(x, y, radius) of one to four objects; each takes the freest of a few random spots, so that they touch and overlap but seldom vanish."""
    num = int(random.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15]))
    places: list[tuple[float, float, float]] = []
    for _ in range(num):
        radius = size_px * random.uniform(0.2, 0.34) * (1.15, 0.95, 0.82, 0.74)[num - 1]
        spots = random.uniform(0.75 * radius, size_px - 0.75 * radius, size=(6, 2))
        room = [min((numpy.hypot(x - px, y - py) - radius - pr for px, py, pr in places), default=0.0) for x, y in spots]
        x, y = spots[int(numpy.argmax(room))]
        places.append((float(x), float(y), float(radius)))
    return places


def _colours(random: numpy.random.Generator, *, num: int) -> list[Colour]:
    """`num` colours of the palette, jittered, the first two at least 0.25 apart in brightness so that patterns show."""
    while True:
        chosen = [PALETTE[index] for index in random.choice(len(PALETTE), size=num, replace=False)]
        colours = [numpy.array([int(text[at : at + 2], 16) for at in (0, 2, 4)]) / 255 for text in chosen]
        if num < 2 or abs(colours[0].mean() - colours[1].mean()) > 0.25:
            return [numpy.clip(colour + random.normal(0, 0.035, 3), 0.02, 0.98) for colour in colours]


def _background(random: numpy.random.Generator, *, size_px: int) -> Canvas:
    """Two colours mixed by noise of several scales, over a gradient; sometimes drawn out into grain along one direction."""
    first, second = _colours(random, num=2)
    mix = 0.5 * smooth_noise(random, size_px=size_px, cells=3) + 0.3 * smooth_noise(random, size_px=size_px, cells=12)
    cells = int(random.choice([20, 32, 48]))
    fine = smooth_noise(random, size_px=size_px, cells=cells)
    if random.random() < 0.4:
        fine = numpy.asarray(
            Image.fromarray(fine.astype(numpy.float32)).resize((size_px, max(3, size_px // 12)), Image.Resampling.BOX).resize((size_px, size_px))
        )
        fine = 2 * (fine.T if random.random() < 0.5 else fine)
    share = numpy.clip(0.35 + 0.28 * mix + 0.12 * fine, 0, 1)[..., None]
    tilt = numpy.linspace(-0.12, 0.12, size_px)
    light = 1 + random.choice([-1, 1]) * tilt[:, None] + random.choice([-1, 1]) * tilt[None, :]
    return (first * (1 - share) + second * share) * light[..., None]


def _object(canvas: Canvas, *, random: numpy.random.Generator, chosen: int, x: float, y: float, radius_px: float) -> Bool[numpy.ndarray, "H W"]:
    """Draw class `chosen` and its shadow on a part of the photo; the pixels it covers there."""
    u, v = _own_coordinates(random, shape=canvas.shape[:2], x=x, y=y, radius_px=radius_px, max_turn_degrees=SHAPES[chosen].max_turn_degrees)
    edge = 1.6 / radius_px
    distance, tone = SHAPES[chosen].draw(Drawing(u=u, v=v, edge=edge, random=random))
    first, second, accent = _colours(random, num=3)
    low, high = numpy.clip(tone, 0, 1)[..., None], numpy.clip(tone - 1, 0, 1)[..., None]
    colour = (first * (1 - low) + second * low) * (1 - high) + accent * high
    cover = numpy.clip(0.5 - distance / edge, 0, 1)
    shift = max(1, round(0.07 * radius_px))
    shadow = numpy.roll(numpy.clip(0.5 - distance / 0.22, 0, 1), (shift, shift), axis=(0, 1))
    shadow[:shift], shadow[:, :shift] = 0, 0
    canvas *= 1 - 0.45 * (shadow * (1 - cover))[..., None]
    colour = colour * _shading(random, distance=distance, u=u, v=v)[..., None]
    canvas[...] = canvas * (1 - cover[..., None]) + colour * cover[..., None]
    return cover > 0.5


def _own_coordinates(
    random: numpy.random.Generator, *, shape: tuple[int, ...], x: float, y: float, radius_px: float, max_turn_degrees: float
) -> tuple[Field, Field]:
    """Where each pixel is on the object: turned, sheared, stretched, seen at a slant, and bent by slow waves."""
    rows, columns = numpy.ogrid[0 : shape[0], 0 : shape[1]]
    u, v = (columns + 0.5 - x) / radius_px, (rows + 0.5 - y) / radius_px
    turn = numpy.radians(random.uniform(-max_turn_degrees, max_turn_degrees))
    u, v = u * numpy.cos(turn) + v * numpy.sin(turn), v * numpy.cos(turn) - u * numpy.sin(turn)
    slant_u, slant_v = random.uniform(-0.16, 0.16, 2)
    depth = numpy.clip(1 + slant_u * u + slant_v * v, 0.5, 2)
    stretch = numpy.exp(random.uniform(-0.18, 0.18))
    u, v = (u * stretch + random.uniform(-0.18, 0.18) * v) / depth, v / stretch / depth
    bend, phase, speed = random.uniform(0.02, 0.07, 2), random.uniform(0, 6.28, 2), random.uniform(2, 4, 2)
    u, v = u + bend[0] * numpy.sin(speed[0] * v + phase[0]), v + bend[1] * numpy.sin(speed[1] * u + phase[1])
    return (-u if random.random() < 0.5 else u), v


def _shading(random: numpy.random.Generator, *, distance: Field, u: Field, v: Field) -> Field:
    """Light from one side, darker towards the rim: a flat drawing looks round."""
    angle = random.uniform(0, 2 * numpy.pi)
    side = 0.16 * (u * numpy.cos(angle) + v * numpy.sin(angle))
    rim = 0.3 * numpy.clip(1 + distance / 0.16, 0, 1) ** 2
    return numpy.clip(1.06 + side - rim, 0.3, 1.5)


def _clutter(canvas: Canvas, *, random: numpy.random.Generator, largest: float) -> tuple[Window, Bool[numpy.ndarray, "h w"]]:
    """A plain blob, bar or thin bow of no class, drawn over what is there; where, and the pixels it covers there."""
    size_px = canvas.shape[0]
    x, y, turn = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0, numpy.pi)
    window = _window(x * size_px, y=y * size_px, reach=2.8 * largest * size_px, size_px=size_px)
    rows, columns = numpy.ogrid[window]
    right, down = (columns + 0.5) / size_px - x, (rows + 0.5) / size_px - y
    along, across = right * numpy.cos(turn) + down * numpy.sin(turn), down * numpy.cos(turn) - right * numpy.sin(turn)
    across = across + random.uniform(-1.5, 1.5) * along**2
    half_length, half_width, roundness = random.uniform(0.5, 1.2) * largest, random.uniform(0.2, 0.6) * largest, random.uniform(0.8, 1.6)
    blob = numpy.hypot(along, across * roundness) - 0.8 * half_length
    bar = numpy.maximum(abs(along) - half_length, abs(across) - half_width)
    bow = numpy.maximum(abs(along) - 2 * half_length, abs(across) - 0.25 * half_width)
    cover = numpy.clip(0.5 - (blob, bar, bow)[int(random.integers(3))] * size_px / 1.6, 0, 1)
    (colour,) = _colours(random, num=1)
    light = numpy.clip(1 + 2.5 * across * random.choice([-1, 1]), 0.6, 1.4)
    canvas[window] = canvas[window] * (1 - cover[..., None]) + colour * (light * cover)[..., None]
    return window, cover > 0.5


def _developed(canvas: Canvas, *, random: numpy.random.Generator) -> UInt8[numpy.ndarray, "H W 3"]:
    """What the camera adds: uneven light, a trace of blur, a tint, grain."""
    size_px = canvas.shape[0]
    light = 1 + 0.09 * smooth_noise(random, size_px=size_px, cells=2)[..., None]
    tint = 1 + random.normal(0, 0.03, 3)
    blur = random.uniform(0, 0.3)
    near = sum(numpy.roll(canvas, step, axis=axis) for axis in (0, 1) for step in (-1, 1)) / 4
    exposed = (canvas * (1 - blur) + near * blur) * light * tint * random.uniform(0.85, 1.12)
    noisy = exposed + random.normal(0, random.uniform(0.008, 0.028), canvas.shape)
    return (numpy.clip(noisy, 0, 1) * 255).round().astype(numpy.uint8)
