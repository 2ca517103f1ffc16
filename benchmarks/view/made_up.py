"""A made-up catalogue of any size, with photos that are drawn when they are asked for: for the benchmark of the page, and for its tests."""

import colorsys
from dataclasses import dataclass

import numpy
from jaxtyping import Int16, UInt8
from PIL import Image, ImageDraw

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.clusters import Clusters
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.groups.graph.rows import unit

PHOTO_SIZE = (160, 120)
"""Width and height in px."""


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A catalogue with its photos. Object i of kind k is an ellipse or a rectangle of the colour k; its vector is the direction k and some noise."""

    catalogue: Catalogue
    kinds: numpy.ndarray
    per_photo: int

    def photo(self, index: int) -> UInt8[numpy.ndarray, "H W 3"]:
        """The pixels of a photo."""
        generator = numpy.random.default_rng(index)
        grey = Image.fromarray(generator.integers(70, 130, (6, 8, 3), dtype=numpy.uint8)).resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(grey)
        for number in range(1, self.per_photo + 1):
            row = index * self.per_photo + number - 1
            if row < len(self.kinds):
                kind = int(self.kinds[row])
                red, green, blue = colorsys.hls_to_rgb(kind * 0.61803 % 1, 0.4 + 0.1 * (kind % 4), 0.75)
                draw = (pen.ellipse, pen.rectangle, pen.ellipse)[kind % 3]
                draw(_corners(self.catalogue.objects.box[row]), fill=(round(255 * red), round(255 * green), round(255 * blue)))
        return numpy.array(grey)

    def masks(self, index: int) -> Int16[numpy.ndarray, "H W"]:
        """The photo's map of object numbers."""
        picture = Image.new("I", PHOTO_SIZE)
        pen = ImageDraw.Draw(picture)
        for number in range(1, self.per_photo + 1):
            row = index * self.per_photo + number - 1
            if row < len(self.kinds):
                (pen.rectangle if int(self.kinds[row]) % 3 == 1 else pen.ellipse)(_corners(self.catalogue.objects.box[row]), fill=number)
        return numpy.array(picture).astype(numpy.int16)


def made_up(
    num_objects: int, *, num_clusters: int = 12, num_kinds: int = 9, num_dims: int = 32, per_photo: int = 2, photo_names: tuple[str, ...] = ()
) -> MadeUp:
    """`num_objects` objects, `per_photo` in a photo, of `num_kinds` kinds in `num_clusters` clusters. `photo_names`: of the first photos."""
    generator = numpy.random.default_rng(0)
    num_photos = -(-num_objects // per_photo)
    kinds = generator.integers(0, num_kinds, num_objects)
    directions = generator.standard_normal((num_kinds, num_dims))
    vectors = unit((directions[kinds] + 0.7 * generator.standard_normal((num_objects, num_dims))).astype(numpy.float32))[0]
    centroids = unit((directions[numpy.arange(num_clusters) % num_kinds] + 0.35 * generator.standard_normal((num_clusters, num_dims))).astype(numpy.float32))[0]
    clusters = Clusters(
        mean=numpy.zeros(num_dims, dtype=numpy.float32), projection=numpy.eye(num_dims, dtype=numpy.float32), centroids=centroids, temperature=0.1
    )
    assigned = clusters.assign(vectors)
    number = (numpy.arange(num_objects) % per_photo + 1).astype(numpy.int32)
    left = (number - 1) / per_photo + generator.uniform(0.02, 0.08, num_objects)
    top = generator.uniform(0.1, 0.3, num_objects)
    box = numpy.stack([top, left, top + 0.5, left + 0.8 / per_photo], axis=1)
    objects = CataloguedObjects(
        photo=numpy.arange(num_objects, dtype=numpy.int64) // per_photo,
        number=number,
        area_px=numpy.full(num_objects, 3000, dtype=numpy.int64),
        box=box,
        vector=vectors,
        cluster=assigned.cluster,
        confidence=assigned.confidence,
    )
    names = (*photo_names, *(f"photo_{index:06d}" for index in range(len(photo_names), num_photos)))
    sizes = numpy.tile(numpy.array(PHOTO_SIZE[::-1], dtype=numpy.int32), (num_photos, 1))
    facts = CatalogueFacts(
        key="0123456789abcdef",
        checkpoint="",
        step=1,
        dataset="made up",
        samples="",
        settings={},
        seed=0,
        pca_dim=0,
        standing_out=num_kinds,
        agreement=None,
    )
    return MadeUp(catalogue=Catalogue(facts, clusters, objects, names, sizes), kinds=kinds, per_photo=per_photo)


def _corners(box: numpy.ndarray) -> tuple[float, float, float, float]:
    top, left, bottom, right = box.tolist()
    width, height = PHOTO_SIZE
    return left * width, top * height, right * width, bottom * height
