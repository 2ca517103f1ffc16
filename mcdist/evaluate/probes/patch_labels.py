"""Patch labels: what a map of classes says about each patch of a feature map."""

import numpy
from jaxtyping import Float32, Int, UInt8

from mcdist.evaluate.metrics.labels import VOID_CLASS


def patch_counts(labels: UInt8[numpy.ndarray, "B H W"], *, height: int, width: int, num_classes: int) -> Int[numpy.ndarray, "B h w C1"]:
    """Pixels of each class in each of height x width patches; the last of the C + 1 columns counts void.

    Pixel row y belongs to patch row floor(y h / H), so patches are equal where H is a multiple of h, and differ by one row elsewhere. A class index of C or
    more that is not void is an error of the caller, and counts as void.
    """
    num_photos, num_rows, num_columns = labels.shape
    row_of, column_of = numpy.arange(num_rows) * height // num_rows, numpy.arange(num_columns) * width // num_columns
    patch = (numpy.arange(num_photos)[:, None, None] * height + row_of[None, :, None]) * width + column_of[None, None, :]
    cells = patch * (num_classes + 1) + numpy.minimum(labels, num_classes)
    counted = numpy.bincount(cells.reshape(-1), minlength=num_photos * height * width * (num_classes + 1))
    return counted.reshape(num_photos, height, width, num_classes + 1)


def class_frequencies(counts: Int[numpy.ndarray, "*patches C1"], *, void_as: int | None = None) -> Float32[numpy.ndarray, "*patches C"]:
    """Share of each class among the pixels of a patch. Void is left out, or counted as the class `void_as`; a patch of void alone has zeros."""
    known = counts[..., :-1].astype(numpy.float32)
    if void_as is not None:
        known[..., void_as] += counts[..., -1]
    return known / numpy.maximum(known.sum(axis=-1, keepdims=True), 1)


def majority(counts: Int[numpy.ndarray, "*patches C1"], *, with_void: bool) -> UInt8[numpy.ndarray, "*patches"]:
    """The class with most pixels, the first of several; VOID_CLASS where there is none, or, `with_void`, where void has more than any class."""
    known = counts[..., :-1]
    best = known.argmax(axis=-1)
    most = numpy.take_along_axis(known, best[..., None], axis=-1)[..., 0]
    is_void = (counts[..., -1] > most) if with_void else (most == 0)
    return numpy.where(is_void, VOID_CLASS, best).astype(numpy.uint8)


def label_patches(labels: UInt8[numpy.ndarray, "B H W"], *, height: int, width: int) -> UInt8[numpy.ndarray, "B h w P"]:
    """The pixels of each patch, row by row; H and W are multiples of height and width."""
    num_photos, num_rows, num_columns = labels.shape
    parted = labels.reshape(num_photos, height, num_rows // height, width, num_columns // width)
    return parted.transpose(0, 1, 3, 2, 4).reshape(num_photos, height, width, -1)


def joined_patches(patches: UInt8[numpy.ndarray, "B h w P"], *, size_px: tuple[int, int]) -> UInt8[numpy.ndarray, "B H W"]:
    """Inverse of `label_patches`: the map of size_px = (H, W) that the patches make."""
    num_photos, height, width, _ = patches.shape
    num_rows, num_columns = size_px
    parted = patches.reshape(num_photos, height, width, num_rows // height, num_columns // width)
    return parted.transpose(0, 1, 3, 2, 4).reshape(num_photos, num_rows, num_columns)
