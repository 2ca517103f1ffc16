"""Overcluster: the patches of the judged photos are clustered, clusters are matched to classes, and IoU is counted over pixels.

As in Leopart (Ziegler and Asano, CVPR 2022) and NeCo (Pariza et al., ICLR 2025). /published keeps two slips of the released code: FAISS clusters at most
256 vectors a centroid, drawn at random, and maps are compared at 100 x 100. /clean clusters every patch and compares at the photo's own size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy
from jaxtyping import Float32, Int, UInt8, UInt16

from mcdist.evaluate.metrics.assign import HUNGARIAN, MAJORITY, assign
from mcdist.evaluate.probes.lowest import Lowest
from mcdist.evaluate.probes.moments import Moments, principal
from mcdist.evaluate.probes.scratch import Scratch
from mcdist.evaluate.probes.upsampled import pixel_numbers
from mcdist.evaluate.protocols.encoder_rows import Judged
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, patch_pieces
from mcdist.evaluate.protocols.patch_protocol import PatchProtocol
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import PixelCounts, matched_counts
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.sharing import own_part
from mcdist.evaluate.view import StoreView
from mcdist.groups.clustering.blocks import fit_centres_of_blocks
from mcdist.groups.clustering.kmeans import fit_centres, nearest_centres

AS_CLASSES = "classes"
"""K: as many clusters as classes."""
CAPPED_PER_CENTROID = 256
PUBLISHED_PX, TRUTH_PX = 448, 100
NUM_SEEDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class OverclusterSwitches(TenSwitches):
    """`points_per_centroid`: vectors a cluster that are clustered, None for all. `truth_px`: side of the maps that are compared, None for the photo's own."""

    pca_dim: int = 50
    num_starts: int = 5
    num_iterations: int = 100
    num_seeds: int = NUM_SEEDS
    points_per_centroid: int | None = None
    truth_px: int | None = None


@dataclass(frozen=True, slots=True)
class Overcluster(PatchProtocol):
    """mIoU of K-means clusters of patches. Seeds 0.. are those of the clustering."""

    switches: OverclusterSwitches
    matching: str = HUNGARIAN
    """One to one by IoU, unmatched clusters are the first class; or MAJORITY: each cluster is the class with most of its pixels, the highest precision."""
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "truth", "label maps"})

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        source = patch_pieces(store, encoder=encoder)
        num_classes = len(source.maps.names)
        asked = num_classes if self.switches.num_clusters == AS_CLASSES else int(self.switches.num_clusters)
        num_clusters = min(asked, source.num_patches)
        moments = Moments(source.num_dims, joint=True)
        for piece in source.pieces():
            moments.add(piece.vectors)
        projection = principal(moments, dim=self.switches.pca_dim)
        with Scratch(projection.num_dims) as scratch:  # of all photos on every rank: what is shared are the passes over it
            for piece in source.pieces():
                scratch.append(projection.apply(piece.vectors))
            shared = source.shared(store)
            found = [
                self._counted(shared, scratch, centres=self._centres(shared, scratch, num_clusters=num_clusters, seed=seed), num_classes=num_classes)
                for seed in range(self.switches.num_seeds)
            ]
        facts = {
            "num_clusters": num_clusters,
            "matching": self.matching,
            "num_patches": source.num_patches,
            "num_clustered": self._num_clustered(source, num_clusters=num_clusters),
            "num_dims": projection.num_dims,
            "explained_percent": projection.explained_percent,
        }
        return [Judged(found, facts)]

    def _num_clustered(self, source: PatchPieces, *, num_clusters: int) -> int:
        cap = self.switches.points_per_centroid
        return source.num_patches if cap is None else min(source.num_patches, cap * num_clusters)

    def _centres(self, source: PatchPieces, scratch: Scratch, *, num_clusters: int, seed: int) -> Float32[numpy.ndarray, "K d"]:
        """With no more patches than clusters, each patch is one."""
        if source.num_patches <= num_clusters:
            return numpy.concatenate(list(scratch.blocks()))
        fit: dict[str, Any] = {
            "num_clusters": num_clusters,
            "seed": seed,
            "num_starts": self.switches.num_starts,
            "num_iterations": self.switches.num_iterations,
        }
        if self._num_clustered(source, num_clusters=num_clusters) == source.num_patches:
            own = own_part(range(scratch.num_blocks), world=source.world)
            return fit_centres_of_blocks(partial(scratch.blocks, places=own), world=source.world, **fit).centres
        sample = Lowest(self._num_clustered(source, num_clusters=num_clusters), seed=seed)
        for photo, vectors in _by_photo(source, scratch.blocks(), photos=source.photos):
            sample.add_photo(vectors, photo=photo)
        assert sample.rows is not None, "there are more patches than clusters"
        return fit_centres(sample.rows, **fit).centres

    def _counted(self, source: PatchPieces, scratch: Scratch, *, centres: Float32[numpy.ndarray, "K d"], num_classes: int) -> PixelCounts:
        return matched_counts(
            partial(self._maps, source, scratch, centres=centres),
            num_photos=len(source.maps),
            num_classes=num_classes,
            num_clusters=len(centres),
            match=partial(assign, matching=self.matching),
            world=source.world,
        )[0]

    def _maps(
        self, source: PatchPieces, scratch: Scratch, *, centres: Float32[numpy.ndarray, "K d"]
    ) -> Iterator[tuple[int, UInt16[numpy.ndarray, "H W"], UInt8[numpy.ndarray, "H W"]]]:
        """(photo, clusters, true classes) at the size that is compared."""
        photos = numpy.concatenate([*source.photo_groups(), source.photos[:0]])
        if not len(photos):
            return
        num = source.grid[0] * source.grid[1]
        begin, end = int(photos[0]) * num, (int(photos[-1]) + 1) * num
        places = range(begin // scratch.block_rows, -(-end // scratch.block_rows))
        nearest = (nearest_centres(block, centres=centres, num=1)[1].astype(numpy.uint16) for block in scratch.blocks(places=places))
        for photo, clusters in _by_photo(source, nearest, photos=photos, skipped=begin - places.start * scratch.block_rows):
            truth = source.maps.own_size(photo)
            if self.switches.truth_px is not None:
                first = pixel_numbers(truth, size_px=(PUBLISHED_PX, PUBLISHED_PX))
                truth = pixel_numbers(first, size_px=(self.switches.truth_px, self.switches.truth_px))
            yield photo, pixel_numbers(clusters.reshape(source.grid), size_px=(truth.shape[0], truth.shape[1])), truth


def _by_photo(
    source: PatchPieces, blocks: Iterator[numpy.ndarray], *, photos: Int[numpy.ndarray, " P"], skipped: int = 0
) -> Iterator[tuple[int, numpy.ndarray]]:
    """The rows of each of these photos, of blocks that end anywhere and begin `skipped` rows before them."""
    num = source.grid[0] * source.grid[1]
    left, rest = photos.tolist()[::-1], None
    for block in blocks:
        rest = block if rest is None or not len(rest) else numpy.concatenate([rest, block])
        skipped, rest = max(0, skipped - len(rest)), rest[skipped:]
        whole = len(rest) // num
        for place in range(min(whole, len(left))):
            yield left.pop(), rest[place * num : (place + 1) * num]
        rest = rest[whole * num :]


def overcluster(number: str, *, published: bool) -> Callable[[JudgeSettings], Overcluster]:
    """The maker of `overcluster-K/published` or `/clean`."""
    variant, num_clusters = "published" if published else "clean", number if number == AS_CLASSES else int(number)

    def make(settings: JudgeSettings) -> Overcluster:
        one_to_one = num_clusters in (AS_CLASSES, 21)
        switches = OverclusterSwitches(
            resize=f"photo {PUBLISHED_PX} x {PUBLISHED_PX}, bilinear" if published else "photo evaluate.size_px squared, bilinear",
            scored_at=f"clusters and truth nearest to {TRUTH_PX} x {TRUTH_PX}, by way of {PUBLISHED_PX}"
            if published
            else "the photo's own size, clusters nearest",
            fitted_on="the judged photos",
            subsampling=f"at most {CAPPED_PER_CENTROID} patches a cluster, at random" if published else "all patches",
            scaling="each dimension standardised, PCA, no whitening",
            num_clusters=num_clusters,
            matching="hungarian on IoU, unmatched clusters are the first class" if one_to_one else "each cluster the class with the highest precision",
            absent_classes="zero" if published else "left out",
            flip_and_crf=NO_FLIP_NO_CRF,
            label_choice=NO_LABEL_CHOICE,
            num_seeds=NUM_SEEDS if published else settings.num_seeds,
            points_per_centroid=CAPPED_PER_CENTROID if published else None,
            truth_px=TRUTH_PX if published else None,
        )
        terms = PhotoTerms(size_px=PUBLISHED_PX) if published else PhotoTerms()
        return Overcluster(f"overcluster-{num_clusters}/{variant}", switches, terms=terms, matching=HUNGARIAN if one_to_one else MAJORITY)

    how = "as Leopart's code: 256 patches a cluster, compared at 100 x 100" if published else "all patches, compared at the photos' own size"
    make.__doc__ = f"K-means of patches, K = {num_clusters}, {how}."
    return make
