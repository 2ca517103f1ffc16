"""KnnProbe: each pixel of a patch takes the most frequent label at its place in the k nearest labelled patches. The k-NN probe of CAPI.

Darcet et al., 2025 (arXiv:2502.08769). All patches of the photos to fit on are keys, and none of them is kept in memory: the judged photos pass by in groups,
and for each group the keys are read once from the store. /published keeps the slip that void may be predicted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy
from jaxtyping import Bool, Float32, Int, UInt8

from mcdist.distributed import World
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.label_transfer import pixel_mode
from mcdist.evaluate.probes.moments import LinearMap
from mcdist.evaluate.probes.patch_labels import joined_patches, label_patches
from mcdist.evaluate.protocols.encoder_rows import Judged
from mcdist.evaluate.protocols.held_out import held_out, known, patch_classes
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, Piece, patch_pieces
from mcdist.evaluate.protocols.patch_protocol import PatchProtocol
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import PixelCounts, counts_over_ranks
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.sharing import own_part
from mcdist.evaluate.view import StoreView
from mcdist.groups.bank import Metric, nearest_of_blocks
from mcdist.groups.graph.rows import unit

PUBLISHED_PX = 224
NEIGHBOUR_PIXELS = 2**26
"""Labels of neighbours' pixels in memory at a time, 64 MiB, but at least those of one photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnProbeSwitches(TenSwitches):
    """Each pair of `num_neighbours` and `metrics` is tried on the photos held out."""

    num_neighbours: tuple[int, ...] = (1, 3, 10, 30)
    metrics: tuple[Metric, ...] = ("cosine", "l2")
    void_predicted: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class KnnProbe(PatchProtocol):
    """mIoU of the best pair."""

    switches: KnnProbeSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "truth", "label maps", "train labels"})

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        """Details: the pair, and what every pair reached on the photos held out."""
        train, source = patch_pieces(store.known_train, encoder=encoder), patch_pieces(store, encoder=encoder)
        world = store.world
        num_classes = len(source.maps.names)
        split = held_out(train, seed=self.switches.seed)
        tried: dict[tuple[Metric, int], float] = {}
        for metric in self.switches.metrics:
            found = self._counts(
                split.chosen_by,
                keys=split.fitted,
                scaling=split.scaling,
                metric=metric,
                numbers=self.switches.num_neighbours,
                num_classes=num_classes,
                world=world,
            )
            tried |= {(metric, number): counts.miou_percent(absent=self.switches.absent_classes) for number, counts in found.items()}
        metric, number = max(tried, key=lambda pair: tried[pair])
        counts = self._counts(source, keys=train, scaling=split.scaling, metric=metric, numbers=(number,), num_classes=num_classes, world=world)[number]
        facts = {
            "neighbours": number,
            "distance": metric,
            "held_out_miou_percent": {f"{metric} {number}": value for (metric, number), value in tried.items()},
            "num_photos_fitted": len(train.photos),
        }
        return [Judged([counts], facts)]

    def _counts(
        self,
        source: PatchPieces,
        *,
        keys: PatchPieces,
        scaling: LinearMap,
        metric: Metric,
        numbers: tuple[int, ...],
        num_classes: int,
        world: World,
    ) -> dict[int, PixelCounts]:
        """For each number of neighbours the counts of all photos of `source`; each rank searches for the groups of its own."""

        def own() -> list[PixelCounts]:
            found = {number: PixelCounts(num_photos=len(source.maps), num_classes=num_classes) for number in numbers}
            size_px = (source.size_px, source.size_px)
            for photos in self._groups(source, most=max(numbers), world=world):
                piece = source.take(photos)
                blocks = self._keys(keys, scaling=scaling, metric=metric, num_classes=num_classes)
                _, rows = nearest_of_blocks(_mapped(piece, scaling=scaling, metric=metric), blocks=blocks, num=max(numbers), metric=metric)
                labels = self._labels(keys, rows=rows, num_classes=num_classes)
                truth = source.maps.squares(photos.tolist(), size_px=source.size_px)
                for number, counts in found.items():
                    patches = pixel_mode(labels[:, :number], with_void=self.switches.void_predicted)
                    maps = joined_patches(patches.reshape(len(photos), *source.grid, -1), size_px=size_px)
                    for place, photo in enumerate(photos.tolist()):
                        counts.add(photo, maps[place], truth=truth[place])
            return list(found.values())

        return dict(zip(numbers, counts_over_ranks(own, world=world), strict=True))

    def _groups(self, source: PatchPieces, *, most: int, world: World) -> Iterator[Int[numpy.ndarray, " B"]]:
        size = max(1, NEIGHBOUR_PIXELS // (most * source.size_px**2))
        for start in own_part(range(0, len(source.photos), size), world=world):
            yield source.photos[start : start + size]

    def _keys(self, keys: PatchPieces, *, scaling: LinearMap, metric: Metric, num_classes: int) -> Iterator[Float32[numpy.ndarray, "N D"]]:
        """The vectors of the patches that have a class."""
        for piece in keys.pieces():
            kept = self._kept(keys, piece.photos, num_classes=num_classes)
            if kept.any():
                yield _mapped(piece, scaling=scaling, metric=metric)[kept]

    def _kept(self, keys: PatchPieces, photos: Int[numpy.ndarray, " B"], *, num_classes: int) -> Bool[numpy.ndarray, " N"]:
        return known(patch_classes(keys, photos, num_classes=num_classes, with_void=self.switches.void_predicted), num_classes=num_classes)

    def _labels(self, keys: PatchPieces, *, rows: Int[numpy.ndarray, "Q k"], num_classes: int) -> UInt8[numpy.ndarray, "Q k P"]:
        """The label patches of the keys in `rows`: the label maps of the photos to fit on are read once more."""
        height, width = keys.grid
        labels = numpy.full((*rows.shape, keys.size_px**2 // (height * width)), VOID_CLASS, dtype=numpy.uint8)
        before = 0
        for photos in keys.photo_groups():
            maps = keys.maps.squares(photos.tolist(), size_px=keys.size_px)
            kept = self._kept(keys, photos, num_classes=num_classes)
            patches = label_patches(maps, height=height, width=width).reshape(len(kept), -1)[kept]
            here = (rows >= before) & (rows < before + len(patches))
            labels[here] = patches[rows[here] - before]
            before += len(patches)
        return labels


def _mapped(piece: Piece, *, scaling: LinearMap, metric: Metric) -> Float32[numpy.ndarray, "N D"]:
    vectors = scaling.apply(piece.vectors)
    return unit(vectors)[0] if metric == "cosine" else vectors


def _make(settings: JudgeSettings, *, published: bool) -> KnnProbe:
    size = f"{PUBLISHED_PX} x {PUBLISHED_PX}" if published else "evaluate.size_px squared"
    switches = KnnProbeSwitches(
        resize=f"photo {size}, {'bicubic' if published else 'bilinear'}; truth nearest",
        scored_at=f"{size}, label patches of the neighbours",
        fitted_on="--train-shards; k and distance chosen on a tenth of them",
        subsampling="all patches whose majority is not void" if published else "all patches with a labelled pixel",
        scaling="standardised on the other nine tenths",
        num_clusters="none",
        matching="none: predictions are classes",
        absent_classes="zero if predicted" if published else "left out",
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice=NO_LABEL_CHOICE,
        void_predicted=published,
    )
    if not published:
        return KnnProbe("knn-probe/clean", switches)
    return KnnProbe("knn-probe/published", switches, terms=PhotoTerms(input="capi", size_px=PUBLISHED_PX))


def knn_probe_published(settings: JudgeSettings) -> KnnProbe:
    """Labels by the vote of nearest patches, as CAPI's code: void may be predicted, and counts as a class then."""
    return _make(settings, published=True)


def knn_probe_clean(settings: JudgeSettings) -> KnnProbe:
    """Labels by the vote of nearest patches; void is no vote."""
    return _make(settings, published=False)
