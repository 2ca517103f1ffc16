"""The demo's ten classes: a silhouette and an inner pattern each, as functions of an object's own coordinates.

u points right and v down; the object covers about -1..1. A silhouette is a signed distance, negative inside. A pattern is a tone: 0 the first colour, 1 the
second, 2 the accent. The colours are drawn in the same way for objects of every class, so only shape and texture identify one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy
from jaxtyping import Float

Field = Float[numpy.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One object's coordinates, the width of a soft edge in these coordinates, and random numbers of its own."""

    u: Field
    v: Field
    edge: float
    random: numpy.random.Generator


@dataclass(frozen=True, slots=True)
class Shape:
    """A class: its name, how far it may be turned, and how it is drawn as (signed distance, tone)."""

    name: str
    max_turn_degrees: float
    draw: Callable[[Drawing], tuple[Field, Field]]


def _ellipse(d: Drawing, *, x: float, y: float, width: float, height: float) -> Field:
    return (numpy.hypot((d.u - x) / width, (d.v - y) / height) - 1) * min(width, height)


def _box(d: Drawing, *, x: float, y: float, width: float, height: float) -> Field:
    return numpy.maximum(abs(d.u - x) - width, abs(d.v - y) - height)


def _polygon(d: Drawing, *corners: tuple[float, float]) -> Field:
    """A convex polygon, corners clockwise as seen on the screen."""
    far = numpy.full_like(d.u, -9.0)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = float(numpy.hypot(x1 - x0, y1 - y0))
        far = numpy.maximum(far, ((d.u - x0) * (y1 - y0) - (d.v - y0) * (x1 - x0)) / length)
    return far


def _inside(distance: Field, *, edge: float) -> Field:
    """1 inside, 0 outside, with a soft edge one pixel wide."""
    return numpy.clip(0.5 - distance / edge, 0, 1)


def _wave(x: Field, *, period: float) -> Field:
    """Triangle wave between 0 and `period / 2`: the distance to the nearest line of a row of lines."""
    return abs((x + period / 2) % period - period / 2)


def _over(tone: Field, *, distance: Field, paint: float, edge: float) -> Field:
    """Paint one tone over what is there, inside `distance`."""
    share = _inside(distance, edge=edge)
    return tone * (1 - share) + paint * share


def _fish(d: Drawing) -> tuple[Field, Field]:
    body = _ellipse(d, x=-0.2, y=0.0, width=0.76, height=0.46)
    tail = numpy.maximum(_polygon(d, (0.3, 0.0), (1.0, -0.52), (1.0, 0.52)), -_ellipse(d, x=1.08, y=0.0, width=0.25, height=0.28))
    fin = _polygon(d, (-0.45, -0.35), (0.02, -0.7), (0.2, -0.3))
    period = 0.3
    odd = numpy.floor(d.v / (period / 2)) % 2
    x, y = (d.u + odd * period / 2) % period - period / 2, d.v % (period / 2)
    scales = _inside(abs(numpy.hypot(x, y) - 0.12) - 0.035, edge=d.edge)
    rays = _inside(_wave(d.v - 0.4 * d.u, period=0.14) - 0.025, edge=d.edge)
    tone = numpy.where(numpy.minimum(tail, fin) < body, rays, scales)
    tone = _over(tone, distance=_ellipse(d, x=-0.72, y=-0.1, width=0.12, height=0.12), paint=0.0, edge=d.edge)
    tone = _over(tone, distance=_ellipse(d, x=-0.72, y=-0.1, width=0.07, height=0.07), paint=2.0, edge=d.edge)
    return numpy.minimum(numpy.minimum(body, tail), fin), tone


def _tree(d: Drawing) -> tuple[Field, Field]:
    trunk = _polygon(d, (-0.1, 0.0), (0.1, 0.0), (0.17, 1.0), (-0.17, 1.0))
    crown = _ellipse(d, x=0.0, y=-0.35, width=0.55, height=0.55)
    for angle in d.random.uniform(0.0, 0.6) + numpy.arange(7) * 2 * numpy.pi / 7:
        bulge = _ellipse(d, x=0.48 * numpy.cos(angle), y=-0.3 + 0.4 * numpy.sin(angle), width=0.3, height=0.28)
        crown = numpy.minimum(crown, bulge)
    leaves = _blotches(d, cells=14)
    bark = _inside(_wave(d.u, period=0.11) - 0.02, edge=d.edge)
    return numpy.minimum(trunk, crown), numpy.where(crown < 0, leaves, 2 - 0.6 * bark)


def _blotches(d: Drawing, *, cells: int) -> Field:
    """Irregular spots: a random grid read bilinearly, then cut at its middle."""
    grid = d.random.standard_normal((cells + 2, cells + 2))
    x, y = (numpy.clip((axis + 1.1) / 2.2, 0, 0.999) * cells for axis in (d.u, d.v))
    column, row = x.astype(int), y.astype(int)
    fx, fy = x - column, y - row
    top = grid[row, column] * (1 - fx) + grid[row, column + 1] * fx
    low = grid[row + 1, column] * (1 - fx) + grid[row + 1, column + 1] * fx
    return numpy.clip(0.5 + 2.2 * (top * (1 - fy) + low * fy), 0, 1)


def _house(d: Drawing) -> tuple[Field, Field]:
    walls = _box(d, x=0.0, y=0.4, width=0.68, height=0.52)
    roof = _polygon(d, (-0.95, -0.1), (0.0, -0.9), (0.95, -0.1))
    chimney = _box(d, x=0.5, y=-0.62, width=0.11, height=0.28)
    row = numpy.floor(d.v / 0.2)
    joints = numpy.minimum(_wave(d.v, period=0.2), _wave(d.u + (row % 2) * 0.2, period=0.4))
    bricks = 1 - _inside(joints - 0.03, edge=d.edge)
    tiles = _inside(_wave(d.v, period=0.22) - 0.05, edge=d.edge)
    tone = numpy.where(roof < 0, 1 - 0.85 * tiles, bricks)
    for x in (-0.36, 0.36):
        tone = _over(tone, distance=_box(d, x=x, y=0.28, width=0.15, height=0.17), paint=0.0, edge=d.edge)
        tone = _over(tone, distance=_box(d, x=x, y=0.28, width=0.1, height=0.12), paint=2.0, edge=d.edge)
    tone = _over(tone, distance=_box(d, x=0.0, y=0.65, width=0.13, height=0.28), paint=2.0, edge=d.edge)
    return numpy.minimum(numpy.minimum(walls, roof), chimney), tone


def _mushroom(d: Drawing) -> tuple[Field, Field]:
    cap = numpy.maximum(_ellipse(d, x=0.0, y=0.12, width=0.95, height=0.92), d.v - 0.18)
    stem = _polygon(d, (-0.2, 0.1), (0.2, 0.1), (0.3, 0.92), (-0.3, 0.92))
    odd = numpy.floor(d.v / 0.34) % 2
    x, y = (d.u + odd * 0.22) % 0.44 - 0.22, d.v % 0.34 - 0.17
    dots = _inside(numpy.hypot(x, y) - 0.125, edge=d.edge)
    skirt = _inside(abs(d.v - 0.36) - 0.05, edge=d.edge)
    return numpy.minimum(cap, stem), numpy.where(cap < 0, dots, 2 - 0.8 * skirt)


def _butterfly(d: Drawing) -> tuple[Field, Field]:
    wings, rings = numpy.full_like(d.u, 9.0), numpy.zeros_like(d.u)
    for x, y, width, height in ((-0.5, -0.35, 0.5, 0.48), (0.5, -0.35, 0.5, 0.48), (-0.38, 0.45, 0.38, 0.42), (0.38, 0.45, 0.38, 0.42)):
        wing = _ellipse(d, x=x, y=y, width=width, height=height)
        radius = numpy.hypot(d.u - x, d.v - y)
        rings = numpy.where(wing < wings, _inside(_wave(radius, period=0.22) - 0.055, edge=d.edge), rings)
        wings = numpy.minimum(wings, wing)
    body = _ellipse(d, x=0.0, y=0.0, width=0.09, height=0.75)
    return numpy.minimum(wings, body), _over(rings, distance=body, paint=2.0, edge=d.edge)


def _wheel(d: Drawing) -> tuple[Field, Field]:
    radius, angle = numpy.hypot(d.u, d.v), numpy.arctan2(d.v, d.u)
    num_spokes = int(d.random.integers(9, 13))
    across = _wave(angle, period=2 * numpy.pi / num_spokes) * radius
    tone = _inside(across - 0.055, edge=d.edge)
    tone = _over(tone, distance=0.74 - radius, paint=1.0, edge=d.edge)
    tone = _over(tone, distance=abs(radius - 0.84) - 0.03, paint=0.0, edge=d.edge)
    return radius - 0.97, _over(tone, distance=radius - 0.17, paint=2.0, edge=d.edge)


def _cup(d: Drawing) -> tuple[Field, Field]:
    body = _polygon(d, (-0.72, -0.75), (0.5, -0.75), (0.36, 0.8), (-0.58, 0.8))
    handle = abs(numpy.hypot((d.u - 0.48) / 0.95, d.v + 0.02) - 0.38) - 0.09
    bands = _inside(_wave(d.v, period=0.36) - 0.09, edge=d.edge)
    rim = abs(d.v + 0.7) - 0.06
    tone = _over(numpy.where(body < 0, bands, 1.0), distance=rim, paint=2.0, edge=d.edge)
    return numpy.minimum(body, handle), tone


def _star(d: Drawing) -> tuple[Field, Field]:
    radius, angle = numpy.hypot(d.u, d.v), numpy.arctan2(d.v, d.u) + numpy.pi / 2
    arm = _wave(angle, period=2 * numpy.pi / 5)
    # Each arm's flank is the straight line from its tip (radius 1, angle 0) to the inner corner (radius 0.45, angle 36 degrees).
    x, y = radius * numpy.cos(arm), radius * numpy.sin(arm)
    distance = ((x - 1) * 0.2645 + y * 0.636) / 0.689
    facet = _inside(numpy.sin(5 * angle) * radius * 0.35, edge=d.edge)
    return distance, facet * (0.75 + 0.25 * (radius > 0.45))


def _leaf(d: Drawing) -> tuple[Field, Field]:
    blade = numpy.maximum(numpy.hypot(d.u, d.v - 0.62) - 1.12, numpy.hypot(d.u, d.v + 0.62) - 1.12)
    blade = blade + 0.05 * (_wave(d.u, period=0.2) / 0.1)
    stalk = numpy.maximum(abs(d.v) - 0.04, abs(d.u - 0.95) - 0.15)
    side = _inside(_wave(d.u + 0.9 * abs(d.v), period=0.26) - 0.04, edge=d.edge)
    tone = _over(side, distance=abs(d.v) - 0.035, paint=1.0, edge=d.edge)
    return numpy.minimum(blade, stalk), numpy.where(d.v < 0, tone, 0.25 + 0.75 * tone)


def _kite(d: Drawing) -> tuple[Field, Field]:
    sail = _polygon(d, (0.0, -1.0), (0.68, -0.25), (0.0, 0.72), (-0.68, -0.25))
    tail = numpy.full_like(d.u, 9.0)
    for y, x in ((0.78, 0.1), (0.98, -0.08)):
        tail = numpy.minimum(tail, _box(d, x=x, y=y, width=0.16, height=0.08))
    x, y = d.u + d.v, d.u - d.v
    checks = numpy.sin(x * numpy.pi / 0.27) * numpy.sin(y * numpy.pi / 0.27)
    tone = numpy.clip(0.5 + checks * 0.09 / d.edge, 0, 1)
    return numpy.minimum(sail, tail), numpy.where(sail < 0, tone, 2.0)


SHAPES = (
    Shape("fish", 30.0, _fish),
    Shape("tree", 20.0, _tree),
    Shape("house", 20.0, _house),
    Shape("mushroom", 30.0, _mushroom),
    Shape("butterfly", 45.0, _butterfly),
    Shape("wheel", 180.0, _wheel),
    Shape("cup", 25.0, _cup),
    Shape("star", 180.0, _star),
    Shape("leaf", 180.0, _leaf),
    Shape("kite", 40.0, _kite),
)
"""In the order of their ids: class i of the ground truth is `SHAPES[i - 1]`."""
