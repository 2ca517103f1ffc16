"""Tuner: one fine-tuning from its start to its result. It is trained by all ranks together, saved on the way, judged, and written.

All ranks share each batch: the house's order deals the photos out, and the step adds the gradients up. A killed fine-tuning goes on from its last
checkpoint, with the same photos in the same order.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from mcdist.data.loader import load_requests, read_sample
from mcdist.data.views.normalise import normalise
from mcdist.disk.checkpoint import load_newest, prune, save_checkpoint
from mcdist.disk.saver import Saver
from mcdist.distributed import World
from mcdist.evaluate.extract.photos import Photos
from mcdist.finetune.folder import TuneFolder, TuneResult, Tuning, make_folder
from mcdist.finetune.judge import best_of, judge_classifiers
from mcdist.finetune.network import Reads, SegmentationNetwork, measure_norms
from mcdist.finetune.photos import LabelledPhotos
from mcdist.finetune.schedule import Requests, Schedule
from mcdist.finetune.settings import TuneSettings
from mcdist.finetune.state import TuneState, start_state
from mcdist.finetune.survey import SurveyedShards
from mcdist.finetune.tune import tune
from mcdist.model.encoder import Encoder
from mcdist.ranks.agree import run_on_first
from mcdist.records import Record
from mcdist.report.console import Console
from mcdist.report.image_progress import ImageProgress
from mcdist.resilience.claim import Claim
from mcdist.resilience.stop import StopWish
from mcdist.run_dir import name_of

NORM_BATCHES = 8
"""Batches that the statistics of random weights are measured on."""
CHECKPOINTS_KEPT = 2


@dataclass(frozen=True, slots=True)
class Start:
    """A network to fine-tune: `make` builds it anew, for a seed. `measures_norms`: whether its weights say nothing about any photo yet."""

    name: str
    reads: Reads
    make: Callable[[int], Encoder]
    measures_norms: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What changes the time of a fine-tuning and no bit of what is trained. `judged_batch`: photos that are judged at a time."""

    num_workers: int
    prefetch: int
    judged_batch: int
    log_every_steps: int
    save_every_steps: int
    saves_beside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuner:
    """What all fine-tunings of a command share. `claim`: rank 0's hold of the folder. `judges_epochs`: whether the linear protocol looks for its best epoch."""

    folder: TuneFolder
    settings: TuneSettings
    pace: Pace
    classes: tuple[str, ...]
    train: SurveyedShards
    judged: SurveyedShards
    judges_epochs: bool
    world: World
    console: Console
    stop: StopWish
    claim: Claim | None

    def is_done(self, tuning: Tuning) -> bool:
        """Whether it has all that is asked for: an earlier command may not have judged every epoch."""
        result = self.folder.read(tuning)
        return result is not None and (bool(result.miou_percent_of_epochs) or not self.judges_epochs_of(tuning))

    def judges_epochs_of(self, tuning: Tuning) -> bool:
        """Whether the best of several epochs is looked for."""
        return tuning.percent is None and self.judges_epochs


def tune_one(tuner: Tuner, tuning: Tuning, *, start: Start, samples: list[int], schedule: Schedule, encoder_path: Path | None = None) -> bool:
    """Train, judge, and write the result; False where a signal ended it. `encoder_path`: where the fine-tuned encoder is kept as a checkpoint, if it is."""
    settings, world, console = tuner.settings, tuner.world, tuner.console
    network = SegmentationNetwork(
        start.make(tuning.seed),
        reads=start.reads,
        num_classes=len(tuner.classes),
        trains_all=tuning.percent is not None,
        initial_std=settings.initial_std,
        seed=tuning.seed,
    ).to(world.device)
    photos = LabelledPhotos(tuner.train.reader, samples=samples, class_of_id=tuner.train.survey.class_of_id, settings=settings, seed=tuning.seed)
    if start.measures_norms:
        measure_norms(network, _first_images(tuner, photos, schedule=schedule, network=network))
    state = start_state(network, settings=settings, num_epochs=settings.num_epochs if tuning.percent is None else 0, world=world)
    checkpoint = load_newest(tuner.folder.checkpoints(tuning), warn=console.warn)
    if checkpoint is not None:
        state.load(checkpoint.tensors, numbers=checkpoint.numbers)
        console.say(f"continuing after step {state.step:,}")
    with console.counting("step", total=schedule.num_steps):
        if not _train(tuner, tuning, state=state, photos=photos, schedule=schedule):
            return False
    result = _judged(tuner, tuning, state=state, samples=samples, schedule=schedule)
    if result is None:
        return False
    run_on_first(lambda: _keep(tuner, tuning, state=state, result=result, encoder_path=encoder_path), world=world)
    return True


def _first_images(tuner: Tuner, photos: LabelledPhotos, *, schedule: Schedule, network: SegmentationNetwork) -> Iterator[Tensor]:
    """Of the first batches, whole on every rank, so that all have the same statistics."""
    backbone = network.encoder.backbone
    requests = schedule.requests(seed=photos.seed, after_step=0, rank=0, num_ranks=1)
    for wanted in islice(requests, min(NORM_BATCHES, schedule.num_steps)):
        loader: Any = load_requests(photos, batches=[wanted], num_workers=0, prefetch=2)
        batch = next(iter(loader))
        yield normalise(batch.images.to(tuner.world.device), mean=backbone.mean, std=backbone.std)


def _train(tuner: Tuner, tuning: Tuning, *, state: TuneState, photos: LabelledPhotos, schedule: Schedule) -> bool:
    """To the end of the schedule, saved on the way; False where a signal ended it, after saving."""
    pace, world, console = tuner.pace, tuner.world, tuner.console
    requests = Requests(schedule=schedule, seed=tuning.seed, after_step=state.step, rank=world.rank, num_ranks=world.num_ranks)
    if not len(requests):
        return True
    saver = Saver(asynchronous=pace.saves_beside)
    loader: Any = load_requests(photos, batches=requests, num_workers=pace.num_workers, prefetch=pace.prefetch, pin_memory=world.device.type == "cuda")
    began_s, began_step, stopped = time.perf_counter(), state.step, False
    with closing(iter(loader)) as batches:
        for now in tune(state, batches, schedule=schedule, log_every_steps=pace.log_every_steps, should_stop=tuner.stop):
            if now.loss is not None:
                images_per_s = (now.step - began_step) * schedule.batch / max(time.perf_counter() - began_s, 1e-9)
                console.update([Record(now.step, "loss", now.loss), Record(now.step, "images_per_s", images_per_s, "1/s")])
            stopped = now.stopped
            if world.is_first and (stopped or now.step == schedule.num_steps or now.step % pace.save_every_steps == 0):
                saver.save(state.tensors(), write=partial(_save, tuner, tuning, step=now.step))
    run_on_first(saver.wait, world=world)
    return not stopped or state.step == schedule.num_steps


def _save(tuner: Tuner, tuning: Tuning, tensors: Any, *, step: int) -> None:
    folder = tuner.folder.checkpoints(tuning)
    make_folder(folder)
    assert tuner.claim is not None, "rank 0 holds the folder"
    with tuner.claim.fenced() as beside:
        save_checkpoint(folder / name_of(step), tensors=tensors, numbers={"step": step}, folder=beside)
    prune(folder, keep=CHECKPOINTS_KEPT)


def _judged(tuner: Tuner, tuning: Tuning, *, state: TuneState, samples: list[int], schedule: Schedule) -> TuneResult | None:
    """The last classifier, and those of all epochs where the best is asked for; None where a signal came."""
    every_epoch = tuner.judges_epochs_of(tuning)
    classifiers = list(state.of_epochs) if every_epoch else [state.network.classifier]
    photos = Photos(partial(read_sample, tuner.judged.reader, with_segments=True), num_photos=tuner.judged.num_photos)
    with tuner.console.counting("photo", total=photos.num_photos):
        counts = judge_classifiers(
            state.network,
            classifiers,
            photos=photos,
            class_of_id=tuner.judged.survey.class_of_id,
            size_px=tuner.settings.size_px,
            batch=tuner.pace.judged_batch,
            num_workers=tuner.pace.num_workers,
            world=tuner.world,
            on_progress=ImageProgress(tuner.console, total=photos.num_photos, num_ranks=tuner.world.num_ranks),
            should_stop=tuner.stop,
        )
    if counts is None:
        return None
    place, miou_percent = best_of(counts)
    absent = tuner.train.survey.absent(samples, num_classes=len(tuner.classes))
    said = f"{tuning.words}: {miou_percent[-1]:.1f} mIoU"
    tuner.console.say(said + (f"; the best epoch is {place + 1} with {miou_percent[place]:.1f}" if every_epoch else ""))
    if absent and tuning.percent is not None:
        tuner.console.say(f"the subset has no label of {', '.join(tuner.classes[number] for number in absent)}, which cannot be learnt from it")
    return TuneResult(
        num_photos=len(samples),
        num_steps=schedule.num_steps,
        skipped_steps=int(state.skipped),
        absent=tuple(tuner.classes[number] for number in absent),
        last=counts[-1],
        best=counts[place],
        num_epochs=tuner.settings.num_epochs if tuning.percent is None else 0,
        best_epoch=place + 1 if every_epoch else 0,
        miou_percent_of_epochs=tuple(miou_percent) if every_epoch else (),
    )


def _keep(tuner: Tuner, tuning: Tuning, *, state: TuneState, result: TuneResult, encoder_path: Path | None) -> None:
    if encoder_path is not None:
        tensors = {f"query/{name}": tensor for name, tensor in state.network.encoder.state_dict().items()}
        tensors |= {f"classes/{name}": tensor for name, tensor in state.network.classes.state_dict().items()}
        make_folder(encoder_path.parent)
        save_checkpoint(encoder_path, tensors=tensors, numbers={"step": result.num_steps, "classes": list(tuner.classes)})
    tuner.folder.write(tuning, result)
