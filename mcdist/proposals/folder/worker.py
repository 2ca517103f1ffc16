"""Worker: one process's share of the work. It makes the method once, then takes photos, a few at a time, and leaves a mask file for each.

A spawned process that imports neither torch nor typer for a classical method: it starts in a second and holds some 100 MiB.
"""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from mcdist.components import VOID
from mcdist.data.pictures.png import MAX_STORED_OBJECTS, encode_grey_png, encode_map
from mcdist.data.pictures.regular_file import open_regular
from mcdist.errors import ConfigError, DataError, MachineError, McdistError
from mcdist.machine.allocator import keep_freed_memory
from mcdist.machine.processes import end_with_parent
from mcdist.proposals.folder.outcome import FAILED, NOTHING_FOUND, ONE_COLOUR, PROPOSED, TOO_SMALL, PhotoOutcome
from mcdist.proposals.folder.proposal_folder import SCHEMA_VERSION, ProposalFolder
from mcdist.proposals.folder.read_photo import ReadPhoto, read_photo
from mcdist.proposals.proposal import CannotProposeError, Method, Proposal
from mcdist.proposals.refinement.refine import make_refiner
from mcdist.proposals.registry import make_method

ENDS_BYTES = 2**16
SHORT_SIDE_MIN_PX = 16
"""A photo shorter than this on a side shows nothing to any method: its mask is empty."""

TOO_MANY = "more than 254 objects: the smallest became void"


@dataclass(frozen=True, slots=True)
class Task:
    """What every worker needs: method, options as typed, refinement, and where photos and masks are."""

    method: str
    device: str
    options: dict[str, str]
    refine: str
    photos: Path
    out: ProposalFolder


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """`about`: what proposals.json says of the method; `batched` and `scope` as `Method` has them."""

    about: dict[str, Any]
    batched: int
    scope: str


class Worker:
    """Method and refinement, made once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.method: Method = make_method(task.method, device=task.device, options=task.options)
        self.refine = make_refiner(task.refine)

    def propose(self, names: Sequence[str]) -> list[PhotoOutcome]:
        """One outcome a photo; a photo that cannot take part is an outcome, never an exception.

        Raises:
            McdistError: something that concerns every photo: a setting, a package, the disk.
        """
        outcomes: dict[str, PhotoOutcome] = {}
        asked: list[tuple[str, ReadPhoto]] = []
        for name in names:
            try:
                photo = read_photo(self.task.photos / name, max_side_px=self.method.max_side_px)
            except CannotProposeError as error:
                outcomes[name] = self._outcome(name, outcome=error.outcome, reason=str(error))
                continue
            empty = _empty_for(photo)
            if empty:
                outcomes[name] = self._write(name, photo=photo, proposal=_nothing(photo), outcome=empty)
            else:
                asked.append((name, photo))
        outcomes.update((outcome.photo, outcome) for outcome in self._ask(asked))
        return [outcomes[name] for name in names]

    def _ask(self, asked: list[tuple[str, ReadPhoto]]) -> list[PhotoOutcome]:
        """Proposals for photos together; where that fails, for each alone, so that one photo takes no other with it."""
        if not asked:
            return []
        try:
            proposals = self.method([photo.pixels for _, photo in asked], names=[name for name, _ in asked])
            proposals = [self.refine(photo.pixels, proposal) for (_, photo), proposal in zip(asked, proposals, strict=True)]
        except McdistError as error:
            if not isinstance(error, DataError):
                raise
            return self._alone(asked, outcome=getattr(error, "outcome", FAILED), reason=str(error))
        except Exception as error:  # a method is others' code: whatever it raises is this photo's outcome
            return self._alone(asked, outcome=FAILED, reason=f"{type(error).__name__}: {error}")
        return [self._finish(name, photo=photo, proposal=proposal) for (name, photo), proposal in zip(asked, proposals, strict=True)]

    def _alone(self, asked: list[tuple[str, ReadPhoto]], *, outcome: str, reason: str) -> list[PhotoOutcome]:
        if len(asked) > 1:
            return [found for one in asked for found in self._ask([one])]
        return [self._outcome(asked[0][0], outcome=outcome, reason=reason)]

    def _finish(self, name: str, *, photo: ReadPhoto, proposal: Proposal) -> PhotoOutcome:
        if proposal.instances.shape != photo.pixels.shape[:2]:
            shown = " x ".join(map(str, proposal.instances.shape[::-1]))
            expected = f"{photo.pixels.shape[1]} x {photo.pixels.shape[0]}"
            raise ConfigError(f"the proposal method {self.task.method} gave a map of {shown} for a photo of {expected}; correct the method")
        return self._write(name, photo=photo, proposal=proposal, outcome=PROPOSED if (proposal.instances > 0).any() else NOTHING_FOUND)

    def _write(self, name: str, *, photo: ReadPhoto, proposal: Proposal, outcome: str) -> PhotoOutcome:
        """The mask at the photo's own size, beside and then renamed. A map of void alone would read as a binary one: nothing found is all background."""
        instances, dropped = _storable(_at_size(_without_transparent(proposal.instances, photo=photo), width=photo.width, height=photo.height))
        content = encode_map(instances)
        self._put(self.task.out.mask(name), content)
        confidence_map = self.task.out.confidence_map(name)
        if confidence_map is not None and proposal.confidence is not None:
            self._put(confidence_map, encode_grey_png(_confidence_at_size(proposal.confidence, width=photo.width, height=photo.height)))
        inside = proposal.instances > 0
        return self._outcome(
            name,
            outcome=outcome if outcome != PROPOSED or (instances > 0).any() else NOTHING_FOUND,
            notes=(*photo.notes, *proposal.notes, *((TOO_MANY,) if dropped else ())),
            num_objects=len(numpy.unique(instances[instances > 0])),
            foreground_share=round(float((instances > 0).mean()), 4),
            confidence=None if proposal.confidence is None else round(float(proposal.confidence[inside].mean()) if inside.any() else 0.0, 4),
            scores=tuple(round(float(score), 4) for score in proposal.scores),
            mask_crc32=zlib.crc32(content),
        )

    def _outcome(self, name: str, *, outcome: str, **others: Any) -> PhotoOutcome:
        photo = self.task.photos / name
        return PhotoOutcome(photo=name, photo_bytes=bytes_of(photo), photo_crc32=ends_crc32(photo), outcome=outcome, **others)

    def _put(self, path: Path, content: bytes) -> None:
        beside = self.task.out.unfinished / f"mask-{os.getpid()}"
        try:
            beside.write_bytes(content)
            try:
                beside.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                beside.replace(path)
            except OSError:  # another disk
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError as error:
            raise MachineError(f"cannot write {path}: {error.strerror}; free some space and run the same command again: finished photos are kept") from error


def bytes_of(path: Path) -> int:
    """A file's size; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def ends_crc32(path: Path) -> int:
    """A checksum of the first and last 64 KiB of a file: it differs for another photo of the same size, without reading all of it; -1 for none."""
    try:
        with open_regular(path) as file:
            begin = file.read(ENDS_BYTES)
            file.seek(max(len(begin), os.fstat(file.fileno()).st_size - ENDS_BYTES))
            return zlib.crc32(file.read(ENDS_BYTES), zlib.crc32(begin))
    except OSError:
        return -1


def _empty_for(photo: ReadPhoto) -> str:
    """The outcome of a photo that no method need look at; empty for others."""
    if min(photo.width, photo.height) < SHORT_SIDE_MIN_PX or min(photo.pixels.shape[:2]) < 2:
        return TOO_SMALL
    return ONE_COLOUR if photo.is_one_colour else ""


def _nothing(photo: ReadPhoto) -> Proposal:
    return Proposal(numpy.zeros(photo.pixels.shape[:2], dtype=numpy.int16))


def _without_transparent(instances: numpy.ndarray, *, photo: ReadPhoto) -> numpy.ndarray:
    return instances if photo.transparent is None else numpy.where(photo.transparent, numpy.int16(0), instances)


def _at_size(instances: numpy.ndarray, *, width: int, height: int) -> numpy.ndarray:
    if instances.shape == (height, width):
        return instances
    return numpy.asarray(Image.fromarray(instances.astype(numpy.int32)).resize((width, height), Image.Resampling.NEAREST)).astype(numpy.int16)


def _confidence_at_size(confidence: numpy.ndarray, *, width: int, height: int) -> numpy.ndarray:
    grey = (confidence.clip(0, 1) * 255).round().astype(numpy.uint8)
    return grey if grey.shape == (height, width) else numpy.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))


def _storable(instances: numpy.ndarray) -> tuple[numpy.ndarray, bool]:
    """Objects numbered 1.. without gaps, at most 254, the smallest beyond become void; no void where there is no object. And whether some were too many."""
    ids, areas = numpy.unique(instances[instances > 0], return_counts=True)
    if not len(ids):
        return numpy.zeros_like(instances), False
    kept = numpy.sort(ids[numpy.argsort(-areas, kind="stable")[:MAX_STORED_OBJECTS]])
    table = numpy.full(int(ids[-1]) + 1, VOID, dtype=numpy.int16)
    table[0] = 0
    table[kept] = numpy.arange(1, len(kept) + 1)
    return numpy.where(instances > 0, table[instances.clip(0)], numpy.where(instances < 0, VOID, 0)).astype(numpy.int16), len(kept) < len(ids)


_worker: Worker | McdistError | None = None


def begin(task: Task) -> None:
    """Make this process's worker, or keep the reason why there is none for whoever asks."""
    global _worker
    keep_freed_memory()
    end_with_parent()
    try:
        _worker = Worker(task)
    except McdistError as error:
        _worker = error


def describe() -> MethodFacts:
    """`facts_of` this process's worker."""
    return facts_of(_this_worker())


def propose(names: Sequence[str]) -> list[PhotoOutcome]:
    """`Worker.propose` of this process's worker."""
    return _this_worker().propose(names)


def facts_of(worker: Worker) -> MethodFacts:
    """What the folder records of a method, and how it takes its photos."""
    method = worker.method
    about = {"schema_version": SCHEMA_VERSION, "method": method.name, "version": method.version, "parameters": method.parameters, "refine": worker.task.refine}
    return MethodFacts(about=json.loads(json.dumps(about)), batched=method.batched, scope=method.scope)


def _this_worker() -> Worker:
    if isinstance(_worker, McdistError):
        raise _worker
    assert _worker is not None
    return _worker
