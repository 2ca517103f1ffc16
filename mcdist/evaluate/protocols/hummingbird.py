"""Hummingbird: dense nearest neighbours. A patch takes the class frequencies of its 30 nearest patches in a memory of labelled photos; nothing is trained.

Balazevic et al., NeurIPS 2023 (arXiv:2306.01667), as open-hummingbird-eval 2.0 measures it. /published keeps its slips: void is the first class in the
memory, and predictions, which are classes already, are matched with the classes once more (Hungarian on IoU). /clean has neither, and compares at the
photo's own size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy
from jaxtyping import Float16, UInt8

from mcdist.evaluate.metrics.assign import HUNGARIAN, assign
from mcdist.evaluate.probes.label_transfer import rare_first, soft_vote
from mcdist.evaluate.probes.patch_labels import class_frequencies, patch_counts
from mcdist.evaluate.probes.upsampled import pixel_classes
from mcdist.evaluate.protocols.encoder_rows import Judged
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, patch_pieces
from mcdist.evaluate.protocols.patch_protocol import PatchProtocol
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import counts_of, matched_counts
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView
from mcdist.groups.bank import Bank
from mcdist.groups.graph.rows import unit

PUBLISHED_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class HummingbirdSwitches(TenSwitches):
    """`memory_size`: patches in memory at most; each photo of each pass gives memory_size // (photos x passes) of them, at least one."""

    memory_size: int
    num_neighbours: int = 30
    temperature: float = 0.02
    void_as_first_class: bool = False
    match_predictions: bool = False
    own_size: bool = True
    """Compare at the photo's own size, else at that of the embedded photos."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """The keys, and the class frequencies of each. Float16 holds shares of a patch of 2^n pixels, up to 2,048, exactly."""

    bank: Bank
    frequencies: Float16[numpy.ndarray, "M C"]


@dataclass(frozen=True, slots=True)
class Hummingbird(PatchProtocol):
    """mIoU of label transfer from the photos to fit on."""

    switches: HummingbirdSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "truth", "label maps", "train labels"})

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        source = patch_pieces(store, encoder=encoder).shared(store)
        num_classes = len(source.maps.names)
        memory = self._memory(patch_pieces(store.known_train, encoder=encoder), num_classes=num_classes)
        maps = partial(self._maps, source, memory)
        facts: dict[str, Any] = {"num_memory": len(memory.bank), "half_precision_keys": memory.bank.half}
        if not self.switches.match_predictions:
            return [Judged([counts_of(maps, num_photos=len(source.maps), num_classes=num_classes, world=store.world)], facts)]
        counts, class_of = matched_counts(
            maps,
            num_photos=len(source.maps),
            num_classes=num_classes,
            num_clusters=num_classes,
            match=partial(assign, matching=HUNGARIAN),
            world=store.world,
        )
        names = source.maps.names
        facts["classes_renamed_by_matching"] = {names[one]: names[other] for one, other in enumerate(class_of.tolist()) if one != other}
        return [Judged([counts], facts)]

    def _memory(self, source: PatchPieces, *, num_classes: int) -> Memory:
        """Of each photo the patches of its rare classes first; of more photos than places, one patch each of as many photos, drawn at random."""
        capacity = self.switches.memory_size
        if len(source.photos) > capacity:
            drawn = numpy.random.default_rng(self.switches.seed).choice(len(source.photos), size=capacity, replace=False)
            source = source.only(source.photos[numpy.sort(drawn)])
        num = max(1, capacity // max(1, len(source.photos)))
        bank, frequencies = Bank(source.num_dims, capacity=capacity), [numpy.zeros((0, num_classes), dtype=numpy.float16)]
        height, width = source.grid
        for piece in source.pieces():
            labels = source.maps.squares(piece.photos.tolist(), size_px=source.size_px)
            counts = patch_counts(labels, height=height, width=width, num_classes=num_classes).reshape(len(labels), height * width, -1)
            shares = class_frequencies(counts, void_as=0 if self.switches.void_as_first_class else None)
            for place, photo in enumerate(piece.photos.tolist()):
                random = numpy.random.default_rng([self.switches.seed, photo])
                kept = rare_first(shares[place] > 0, num=num, random=random)
                bank.add(unit(piece.features[place].reshape(height * width, -1)[kept])[0])
                frequencies.append(shares[place, kept].astype(numpy.float16))
        return Memory(bank, numpy.concatenate(frequencies))

    def _maps(self, source: PatchPieces, memory: Memory) -> Iterator[tuple[int, UInt8[numpy.ndarray, "H W"], UInt8[numpy.ndarray, "H W"]]]:
        """(photo, predicted classes, true classes) at the size that is compared."""
        height, width = source.grid
        for piece in source.pieces():
            for place, photo in enumerate(piece.photos.tolist()):
                queries = unit(piece.features[place].reshape(height * width, -1))[0]
                cosines, rows = memory.bank.nearest(queries, num=self.switches.num_neighbours)
                votes = soft_vote(cosines, labels=memory.frequencies[rows], temperature=self.switches.temperature)
                truth = source.maps.squares([photo], size_px=source.size_px)[0] if not self.switches.own_size else source.maps.own_size(photo)
                yield photo, pixel_classes(votes.reshape(height, width, -1), size_px=(truth.shape[0], truth.shape[1])), truth


def hummingbird_published(settings: JudgeSettings) -> Hummingbird:
    """Labels from the 30 nearest patches of a memory, as open-hummingbird-eval measures it, slips included."""
    switches = HummingbirdSwitches(
        resize=f"photo and truth {PUBLISHED_PX} x {PUBLISHED_PX}, bilinear and nearest; memory photos: random crops of half to all of the area, colour jitter",
        scored_at=f"votes bilinear to {PUBLISHED_PX} x {PUBLISHED_PX}, truth nearest",
        fitted_on="--train-shards, two augmented passes",
        subsampling="patches of each photo's rare classes first",
        scaling="unit vectors",
        num_clusters="none",
        matching="hungarian on IoU over predicted classes (a slip)",
        absent_classes="zero",
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice="the matching reads labels of the judged photos",
        memory_size=settings.memory_size,
        void_as_first_class=True,
        match_predictions=True,
        own_size=False,
    )
    return Hummingbird("hummingbird/published", switches, terms=PhotoTerms(input="hummingbird", size_px=PUBLISHED_PX))


def hummingbird_clean(settings: JudgeSettings) -> Hummingbird:
    """Labels from the 30 nearest patches of a memory; void teaches nothing, predictions are not matched, full size."""
    switches = HummingbirdSwitches(
        resize="photo evaluate.size_px squared, bilinear; memory photos alike, not augmented",
        scored_at="the photo's own size, votes bilinear",
        fitted_on="--train-shards",
        subsampling="patches of each photo's rare classes first",
        scaling="unit vectors",
        num_clusters="none",
        matching="none: predictions are classes",
        absent_classes="left out",
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice=NO_LABEL_CHOICE,
        memory_size=settings.memory_size,
    )
    return Hummingbird("hummingbird/clean", switches)
