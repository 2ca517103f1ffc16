"""LogregProbe: logistic regression of patches on the majority class of their pixels. The linear probe of CAPI (Darcet et al., 2025, arXiv:2502.08769)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from mcdist.data.pictures.resize import resize_nearest
from mcdist.evaluate.probes.logistic import LinearClassifier, fit_logistic
from mcdist.evaluate.probes.moments import LinearMap
from mcdist.evaluate.probes.scratch import Scratch
from mcdist.evaluate.protocols.encoder_rows import Judged, encoder_rows
from mcdist.evaluate.protocols.held_out import held_out, known, patch_classes
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, patch_pieces
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import PixelCounts, trained_place
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView
from mcdist.records import Row

PUBLISHED_PX = 224
INVERSE_PENALTIES = tuple((10 ** numpy.linspace(-6, 5, 8)).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class LogregProbeSwitches(TenSwitches):
    """Each C of `inverse_penalties` is tried on the photos held out; scikit-learn's C."""

    inverse_penalties: tuple[float, ...] = INVERSE_PENALTIES
    max_iterations: int = 1000
    void_majority_left_out: bool = False
    """Leave out a patch with more void than any class; else only one that is all void."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LogregProbe:
    """mIoU of the best C."""

    name: str
    switches: LogregProbeSwitches
    terms: PhotoTerms = PhotoTerms()
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "truth", "label maps", "train labels"})

    def judge(self, store: StoreView) -> list[Row]:
        """A row for each encoder."""
        self.terms.check_store(self.name, store=store)
        return encoder_rows(self.name, store=store, absent=self.switches.absent_classes, judge=partial(self._judge, store))

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder."""
        return trained_place(rows)

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        """Details: C, what every C reached on the photos held out, passes over the patches, and whether L-BFGS came to its end."""
        train, source = patch_pieces(store.known_train, encoder=encoder), patch_pieces(store, encoder=encoder)
        num_classes = len(store.known_truth.labels.names)
        split = held_out(train, seed=self.switches.seed)
        tried, classifier, passes = {}, None, 0
        with ExitStack() as stack:
            fitted = stack.enter_context(self._scratch(split.fitted, scaling=split.scaling, num_classes=num_classes))
            for inverse_penalty in sorted(self.switches.inverse_penalties):
                classifier = self._fit(fitted, num_classes=num_classes, inverse_penalty=inverse_penalty, start=classifier)
                passes += classifier.num_passes
                counts = self._counts(split.chosen_by, classifier, scaling=split.scaling, num_classes=num_classes)
                tried[inverse_penalty] = counts.miou_percent(absent=self.switches.absent_classes)
            best = max(tried, key=lambda one: tried[one])
            whole = stack.enter_context(self._scratch(train, scaling=split.scaling, num_classes=num_classes))
            classifier = self._fit(whole, num_classes=num_classes, inverse_penalty=best, start=None)
        facts = {
            "inverse_penalty": best,
            "held_out_miou_percent": {f"{one:.2e}": value for one, value in tried.items()},
            "num_passes": passes + classifier.num_passes,
            "converged": classifier.converged,
            "num_photos_fitted": len(train.photos),
        }
        return [Judged([self._counts(source, classifier, scaling=split.scaling, num_classes=num_classes)], facts)]

    def _fit(self, scratch: Scratch, *, num_classes: int, inverse_penalty: float, start: LinearClassifier | None) -> LinearClassifier:
        return fit_logistic(
            partial(_labelled, scratch),
            num_dims=scratch.num_dims - 1,
            num_classes=num_classes,
            inverse_penalty=inverse_penalty,
            start=start,
            max_iterations=self.switches.max_iterations,
        )

    def _scratch(self, source: PatchPieces, *, scaling: LinearMap, num_classes: int) -> Scratch:
        """The standardised patches that have a class, and the class behind each: a fit reads them many times."""
        scratch = Scratch(source.num_dims + 1)
        for piece in source.pieces():
            classes = patch_classes(source, piece.photos, num_classes=num_classes, with_void=self.switches.void_majority_left_out)
            kept = known(classes, num_classes=num_classes)
            scratch.append(numpy.concatenate([scaling.apply(piece.vectors)[kept], classes[kept, None].astype(numpy.float32)], axis=1))
        return scratch

    def _counts(self, source: PatchPieces, classifier: LinearClassifier, *, scaling: LinearMap, num_classes: int) -> PixelCounts:
        """The class of a patch is that of all of its pixels."""
        counts = PixelCounts(num_photos=len(source.maps), num_classes=num_classes)
        for piece in source.pieces():
            classes = classifier.logits(torch.from_numpy(scaling.apply(piece.vectors))).argmax(dim=1).to(torch.uint8).numpy()
            truth = source.maps.squares(piece.photos.tolist(), size_px=source.size_px)
            for place, (photo, patches) in enumerate(zip(piece.photos.tolist(), classes.reshape(len(piece.photos), *source.grid), strict=True)):
                counts.add(photo, resize_nearest(patches, height=source.size_px, width=source.size_px), truth=truth[place])
        return counts


def _labelled(scratch: Scratch) -> Iterator[tuple[Float32[Tensor, "N D"], Int[Tensor, " N"]]]:
    for block in scratch.blocks():
        rows = torch.from_numpy(block.copy())
        yield rows[:, :-1].contiguous(), rows[:, -1].long()


def _make(settings: JudgeSettings, *, published: bool) -> LogregProbe:
    size = f"{PUBLISHED_PX} x {PUBLISHED_PX}" if published else "evaluate.size_px squared"
    switches = LogregProbeSwitches(
        resize=f"photo {size}, {'bicubic' if published else 'bilinear'}; truth nearest",
        scored_at=f"{size}, one class a patch",
        fitted_on="--train-shards; C chosen on a tenth of them",
        subsampling="all patches whose majority is not void" if published else "all patches with a labelled pixel",
        scaling="standardised on the other nine tenths",
        num_clusters="none",
        matching="none: predictions are classes",
        absent_classes="zero if predicted" if published else "left out",
        flip_and_crf=NO_FLIP_NO_CRF,
        label_choice=NO_LABEL_CHOICE,
        void_majority_left_out=published,
    )
    if not published:
        return LogregProbe("logreg-probe/clean", switches)
    return LogregProbe("logreg-probe/published", switches, terms=PhotoTerms(input="capi", size_px=PUBLISHED_PX))


def logreg_probe_published(settings: JudgeSettings) -> LogregProbe:
    """Logistic regression of patches by L-BFGS, as CAPI's code."""
    return _make(settings, published=True)


def logreg_probe_clean(settings: JudgeSettings) -> LogregProbe:
    """Logistic regression of patches by L-BFGS; a class that the truth never shows is left out."""
    return _make(settings, published=False)
