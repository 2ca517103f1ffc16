"""A folder of photos becomes a folder of masks: photos are shared out to worker processes; what was finished before is kept.

The number of workers and parts changes the time, never a byte.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mcdist.data.pictures.folder import PHOTO_SUFFIXES, check_folder, is_text, named_twice, pictures_in
from mcdist.errors import DataError
from mcdist.machine.processes import dead_workers_explained, results_of
from mcdist.machine.variables import variables
from mcdist.proposals.folder.outcome import FAILED, SAME_NAME, PhotoOutcome, Summary, check_not_all_failed, summarise
from mcdist.proposals.folder.places import check_apart, disk_errors
from mcdist.proposals.folder.proposal_folder import ProposalFolder
from mcdist.proposals.folder.read_photo import UNREADABLE
from mcdist.proposals.folder.worker import MethodFacts, Task, Worker, begin, bytes_of, describe, ends_crc32, facts_of, propose

PHOTOS_A_TASK = 16
"""A task costs a message there and back: some photos go together."""
FINISHED = "photos"
MAX_FRAMES = 128
"""Longer sequences are cut: all frames of a call are in memory."""

Propose = Callable[[Sequence[str]], list[PhotoOutcome]]


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a run did. `complete`: proposals.json is written, all parts are done. `num_kept`: photos an earlier run had finished."""

    folder: ProposalFolder
    summary: Summary
    about: dict[str, Any]
    num_kept: int
    num_made: int
    complete: bool
    wall_s: float


def propose_folder(
    photos: Path,
    *,
    out: Path,
    method: str,
    options: dict[str, str] | None = None,
    refine: str = "none",
    device: str = "cpu",
    num_workers: int = 1,
    part: int = 1,
    num_parts: int = 1,
    confidence: Path | None = None,
    overwrite: bool = False,
    tick: Callable[[int], None] = lambda _: None,
    say_total: Callable[[int], None] = lambda _: None,
) -> Proposed:
    """Propose masks for every picture below `photos` into `out`, or for part `part` of `num_parts` of them.

    `num_workers` 0 works in this process. The last part to finish writes proposals.json. `tick` hears the photos done, `say_total` first how many
    there are to do in this part.

    Raises:
        ConfigError: no such method or option; `out` or `confidence` holds something else, is in `photos`, or was changed by hand.
        DataError: no photos; or the method fails on more than 5 % of them.
        MissingExtraError: the method needs a package that is not installed.
        MachineError: no space left, or a worker died; finished photos stay for the next run.
    """
    began_s = time.monotonic()
    check_folder(photos, what="photos")
    folder = ProposalFolder(out, confidence=confidence)
    check_apart(photos, out=out, confidence=confidence)
    names = pictures_in(photos)
    if not names:
        raise DataError(f"expected photos ({', '.join(PHOTO_SUFFIXES)}) in {photos}, found none; give the folder that holds them")
    task = Task(method=method, device=device, options=dict(options or {}), refine=refine, photos=photos, out=folder)
    with _workers(task, num_workers=num_workers) as workers:
        facts = workers.facts()
        folder.open(facts.about, overwrite=overwrite)
        kept = _kept(folder, names=names, photos=photos)
        earlier = folder.read_outcomes()
        folder.refuse_changed(earlier[name] for name in names if name in earlier and name not in kept)
        refused = list(_refused(names, photos=photos))
        mine = _share_out(names, scope=facts.scope, part=part, num_parts=num_parts)
        left = _left(mine, done=kept | {outcome.photo: outcome for outcome in refused}, facts=facts)
        say_total(sum(map(len, left)))
        made: list[PhotoOutcome] = []
        journal = folder.journal(part, num_parts=num_parts)
        with disk_errors(out), journal.open("a", encoding="ascii") as file:
            for outcomes in workers.propose_all(left):
                made.extend(outcomes)
                file.write("".join(outcome.to_line() for outcome in outcomes))
                file.flush()
                tick(len(outcomes))
                check_not_all_failed(made, num_photos=len(names))
    everything = {**folder.read_outcomes(), **kept, **{outcome.photo: outcome for outcome in (*refused, *made)}}
    listed = [everything[name] for name in names if name in everything]
    complete = len(listed) == len(names)
    if complete:
        with disk_errors(out):
            folder.finish(listed, about=facts.about)
    return Proposed(
        folder=folder,
        summary=summarise(listed),
        about=facts.about,
        num_kept=len(kept),
        num_made=len(made),
        complete=complete,
        wall_s=time.monotonic() - began_s,
    )


def _kept(folder: ProposalFolder, *, names: list[str], photos: Path) -> dict[str, PhotoOutcome]:
    """Outcomes of earlier runs that still hold: the photo has the same size and ends, and its mask is as it was written. What failed is tried again."""
    earlier = folder.read_outcomes()
    found = (earlier[name] for name in names if name in earlier and earlier[name].outcome != FAILED)
    return {outcome.photo: outcome for outcome in found if _is_same(outcome, photo=photos / outcome.photo) and folder.is_sound(outcome)}


def _is_same(outcome: PhotoOutcome, *, photo: Path) -> bool:
    """Outcomes of former versions know the photo's size alone."""
    return outcome.photo_bytes == bytes_of(photo) and outcome.photo_crc32 in (None, ends_crc32(photo))


def _refused(names: list[str], *, photos: Path) -> Iterator[PhotoOutcome]:
    """Photos that no method need read."""
    for name, earlier in named_twice(names).items():
        reason = f"{name} and {earlier} differ in their suffix only, so that one mask would belong to both; rename one"
        yield PhotoOutcome(photo=name, photo_bytes=bytes_of(photos / name), outcome=SAME_NAME, reason=reason)
    for name in names:
        if not is_text(name):
            yield PhotoOutcome(photo=name, photo_bytes=bytes_of(photos / name), outcome=UNREADABLE, reason="its name is no UTF-8; rename the photo")


def _share_out(names: list[str], *, scope: str, part: int, num_parts: int) -> list[list[str]]:
    """The groups of this part: photos that must come together, one by one for most methods."""
    if scope == "photo":
        return [[name] for name in names[part - 1 :: num_parts]]
    folders = [list(group) for _, group in groupby(sorted(names, key=_folder_of), key=_folder_of)]
    sequences = [sorted(frames)[begin : begin + MAX_FRAMES] for frames in folders for begin in range(0, len(frames), MAX_FRAMES)]
    return sequences[part - 1 :: num_parts]


def _folder_of(name: str) -> str:
    return os.path.dirname(name)  # noqa: PTH120


def _left(groups: list[list[str]], *, done: dict[str, PhotoOutcome], facts: MethodFacts) -> list[list[str]]:
    """Tasks that are still to do. A sequence of which a frame is missing is done anew as a whole: its frames depend on each other."""
    if facts.scope == "folder":
        return [frames for frames in groups if any(name not in done for name in frames)]
    names = [name for group in groups for name in group if name not in done]
    size = facts.batched if facts.batched > 1 else min(PHOTOS_A_TASK, max(1, len(names) // 64))
    return [names[begin : begin + size] for begin in range(0, len(names), size)]


class _InProcess:
    """No other process: for tests, and for those who call from a program of their own."""

    def __init__(self, task: Task) -> None:
        self.worker = Worker(task)

    def facts(self) -> MethodFacts:
        return facts_of(self.worker)

    def propose_all(self, tasks: Iterable[list[str]]) -> Iterator[list[PhotoOutcome]]:
        return map(self.worker.propose, tasks)


class _Pool:
    """Worker processes, each begun anew so that no thread of ours is copied half-way."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def facts(self) -> MethodFacts:
        with dead_workers_explained(finished=FINISHED):
            return self.pool.submit(describe).result()

    def propose_all(self, tasks: list[list[str]]) -> Iterator[list[PhotoOutcome]]:
        futures = {self.pool.submit(propose, names): None for names in tasks}
        return (outcomes for _, outcomes in results_of(self.pool, futures, finished=FINISHED))


@contextmanager
def _workers(task: Task, *, num_workers: int) -> Iterator[_InProcess | _Pool]:
    if num_workers == 0:
        yield _InProcess(task)
        return
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(max_workers=num_workers, mp_context=context, initializer=begin, initargs=(task,)) as pool:
        yield _Pool(pool)


def one_thread_each() -> AbstractContextManager[None]:
    """Processes started inside compute with one thread each: they are the parallelism, and sums come out the same on every machine."""
    return variables(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
