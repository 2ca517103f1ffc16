"""LogregProbe: logistic regression of patches on the majority class of their pixels. The linear probe of CAPI (Darcet et al., 2025, arXiv:2502.08769)."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import ClassVar

import numpy
import torch
from jaxtyping import Float32, Int, UInt8
from torch import Tensor

from mcdist.evaluate.probes.logistic import LinearClassifier, fit_logistic
from mcdist.evaluate.probes.moments import LinearMap
from mcdist.evaluate.probes.scratch import BLOCK_VALUES, Scratch
from mcdist.evaluate.probes.upsampled import pixel_numbers
from mcdist.evaluate.protocols.encoder_rows import Judged
from mcdist.evaluate.protocols.held_out import held_out, known, patch_classes
from mcdist.evaluate.protocols.patch_pieces import PatchPieces, patch_pieces
from mcdist.evaluate.protocols.patch_protocol import PatchProtocol
from mcdist.evaluate.protocols.photo_terms import PhotoTerms
from mcdist.evaluate.protocols.pixel_row import PixelCounts, counts_of
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.protocols.ten_switches import NO_FLIP_NO_CRF, NO_LABEL_CHOICE, TenSwitches
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView

PUBLISHED_PX = 224
INVERSE_PENALTIES = tuple((10 ** numpy.linspace(-6, 5, 8)).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class LogregProbeSwitches(TenSwitches):
    """Each C of `inverse_penalties` is tried on the photos held out; scikit-learn's C."""

    inverse_penalties: tuple[float, ...] = INVERSE_PENALTIES
    max_iterations: int = 200
    void_majority_left_out: bool = False
    """Leave out a patch with more void than any class; else only one that is all void."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LogregProbe(PatchProtocol):
    """mIoU of the best C."""

    switches: LogregProbeSwitches
    needs: ClassVar[frozenset[Need]] = frozenset({"patches", "truth", "label maps", "train labels"})

    def _judge(self, store: StoreView, encoder: str) -> list[Judged]:
        """Details: C, what every C reached on the photos held out, passes over the patches, and whether L-BFGS came to its end."""
        train, source = patch_pieces(store.known_train, encoder=encoder), patch_pieces(store, encoder=encoder).shared(store)
        num_classes = len(source.maps.names)
        split = held_out(train, seed=self.switches.seed)
        tried, classifier, passes = {}, None, 0
        with ExitStack() as stack:
            fitted = stack.enter_context(self._written(split.fitted, scaling=split.scaling, num_classes=num_classes))
            for inverse_penalty in sorted(self.switches.inverse_penalties):
                classifier = self._fit(fitted, num_classes=num_classes, inverse_penalty=inverse_penalty, start=classifier)
                passes += classifier.num_passes
                counts = self._counts(split.chosen_by, classifier, scaling=split.scaling, num_classes=num_classes)
                tried[inverse_penalty] = counts.miou_percent(absent=self.switches.absent_classes)
            best = max(tried, key=lambda one: tried[one])
            whole = stack.enter_context(self._written(train, scaling=split.scaling, num_classes=num_classes))
            classifier = self._fit(whole, num_classes=num_classes, inverse_penalty=best, start=None)
        facts = {
            "inverse_penalty": best,
            "held_out_miou_percent": {f"{one:.2e}": value for one, value in tried.items()},
            "num_passes": passes + classifier.num_passes,
            "converged": classifier.converged,
            "num_photos_fitted": len(train.photos),
        }
        return [Judged([self._counts(source, classifier, scaling=split.scaling, num_classes=num_classes)], facts)]

    def _fit(self, fitted: "_Fitted", *, num_classes: int, inverse_penalty: float, start: LinearClassifier | None) -> LinearClassifier:
        return fit_logistic(
            fitted.pieces,
            num_dims=fitted.vectors.num_dims,
            num_classes=num_classes,
            inverse_penalty=inverse_penalty,
            start=start,
            max_iterations=self.switches.max_iterations,
        )

    def _written(self, source: PatchPieces, *, scaling: LinearMap, num_classes: int) -> "_Fitted":
        fitted = _Fitted(source.num_dims)
        for piece in source.pieces():
            classes = patch_classes(source, piece.photos, num_classes=num_classes, with_void=self.switches.void_majority_left_out)
            kept = known(classes, num_classes=num_classes)
            fitted.append(scaling.apply(piece.vectors)[kept], classes=classes[kept])
        return fitted

    def _counts(self, source: PatchPieces, classifier: LinearClassifier, *, scaling: LinearMap, num_classes: int) -> PixelCounts:
        """The class of a patch is that of all of its pixels."""
        maps = partial(_maps, source, classifier, scaling=scaling)
        return counts_of(maps, num_photos=len(source.maps), num_classes=num_classes, world=source.world)


def _maps(
    source: PatchPieces, classifier: LinearClassifier, *, scaling: LinearMap
) -> Iterator[tuple[int, UInt8[numpy.ndarray, "S S"], UInt8[numpy.ndarray, "S S"]]]:
    """(photo, predicted classes, true classes)."""
    size_px = (source.size_px, source.size_px)
    for piece in source.pieces():
        classes = classifier.logits(torch.from_numpy(scaling.apply(piece.vectors))).argmax(dim=1).to(torch.uint8).numpy()
        truth = source.maps.squares(piece.photos.tolist(), size_px=source.size_px)
        for place, (photo, patches) in enumerate(zip(piece.photos.tolist(), classes.reshape(len(piece.photos), *source.grid), strict=True)):
            yield photo, pixel_numbers(patches, size_px=size_px), truth[place]


class _Fitted:
    """The standardised patches that have a class, and the class of each, in two scratch files: a fit reads them many times."""

    def __init__(self, num_dims: int) -> None:
        """Empty."""
        self.vectors, self.classes = Scratch(num_dims), Scratch(1)

    def __enter__(self) -> "_Fitted":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.vectors.__exit__(kind, error, trace)
        self.classes.__exit__(kind, error, trace)

    def append(self, vectors: Float32[numpy.ndarray, "N D"], *, classes: UInt8[numpy.ndarray, " N"]) -> None:
        """Write patches behind those before."""
        self.vectors.append(vectors)
        self.classes.append(classes[:, None].astype(numpy.float32))

    def pieces(self) -> Iterator[tuple[Float32[Tensor, "N D"], Int[Tensor, " N"]]]:
        """All patches, in order."""
        size = max(1, BLOCK_VALUES // self.vectors.num_dims)
        for vectors, classes in zip(self.vectors.blocks(size=size), self.classes.blocks(size=size), strict=True):
            yield torch.from_numpy(vectors), torch.from_numpy(classes[:, 0]).long()


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
        max_iterations=1000 if published else 200,
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
