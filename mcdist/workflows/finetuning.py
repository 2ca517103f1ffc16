"""The story of fine-tunings: networks trained on labelled photos, one after another, by all ranks together; then their table.

All ranks share each batch: the house's order deals the photos out, and the step adds the gradients up. A killed command goes on within the fine-tuning
that it was in, from its last checkpoint, with the same photos in the same order.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import UInt8

from mcdist import build
from mcdist.config.classes import find_classes
from mcdist.config.config import Config
from mcdist.config.file import config_of, dump_config, load_run_config
from mcdist.data.readers.content import content_of
from mcdist.data.shards.sample import SEGMENTS_MEMBER
from mcdist.disk.checkpoint import find_checkpoint, load_checkpoint
from mcdist.distributed import World
from mcdist.errors import ConfigError
from mcdist.evaluate.metrics.labels import VOID_CLASS, LabelMap, label_map
from mcdist.evaluate.protocols.class_maps import first_class
from mcdist.finetune.folder import TuneFolder, TuneResult, Tuning
from mcdist.finetune.protocols import PROTOCOLS
from mcdist.finetune.rows import fraction_rows, linear_rows, truth_of
from mcdist.finetune.schedule import Schedule, check_ranks, epochs_schedule, steps_schedule
from mcdist.finetune.settings import FRACTIONS_PERCENT, TuneSettings, check_fractions
from mcdist.finetune.subsets import Subsets, check_subsets, draw_subsets, extended, read_subsets, write_subsets
from mcdist.finetune.survey import SurveyedShards, survey_labels
from mcdist.finetune.tuner import Pace, Start, Tuner, tune_one
from mcdist.model.encoder import Encoder
from mcdist.model.weights_digest import weights_digest
from mcdist.ranks.agree import agreed_exit_code, all_together, lost_ranks_explained, run_on_first
from mcdist.ranks.join import leave_world
from mcdist.records import Evaluation, Row
from mcdist.records.names import (
    BACKBONE,
    FINETUNE_FRACTION,
    INITIAL_BACKBONE,
    LINEAR_EXACT_CLEAN,
    LINEAR_EXACT_PUBLISHED,
    RANDOM_WEIGHTS,
    TRAINED_DECODER,
)
from mcdist.report.console import Console
from mcdist.report.image_progress import ImageProgress
from mcdist.report.page.html import write_report
from mcdist.resilience.claim import Claim, claim_run
from mcdist.resilience.stop import StopWish
from mcdist.run_dir import RunDir, name_of, write_atomically
from mcdist.trained import encoder_of

LINEAR = (LINEAR_EXACT_PUBLISHED, LINEAR_EXACT_CLEAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneTask:
    """What was asked for. `shards`: the judged photos, empty for the run's data.val. `subsets`: a file of label subsets to use, None to draw them."""

    out: Path
    train_shards: str
    shards: str = ""
    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    fractions_percent: tuple[float, ...] = FRACTIONS_PERCENT
    num_seeds: int = 3
    subsets: Path | None = None
    with_random_weights: bool = False
    save_every_steps: int = 500
    settings: TuneSettings = TuneSettings()

    def __post_init__(self) -> None:
        if unknown := [name for name in self.protocols if name not in PROTOCOLS]:
            raise ConfigError(f"--protocol must be one of {', '.join(PROTOCOLS)}, got {unknown[0]!r}")
        if not self.train_shards:
            raise ConfigError("fine-tuning needs labelled photos; name their shards: --train-shards DIR")
        for option, value in (("--seeds", self.num_seeds), ("--save-every", self.save_every_steps)):
            if value < 1:
                raise ConfigError(f"{option} must be at least 1, got {value}")
        check_fractions(self.fractions_percent)

    @property
    def seeds(self) -> range:
        """From 0 on."""
        return range(self.num_seeds)


@dataclass(frozen=True, slots=True)
class Finetuned:
    """`evaluation`: on rank 0, unless a signal stopped the command; `exit_code` is then that signal's, else 0."""

    evaluation: Evaluation | None
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class _Bench:
    """What a command has read and checked before its first fine-tuning."""

    config: Config
    task: FinetuneTask
    tuner: Tuner
    subsets: Subsets


def finetune_run(run_dir: RunDir, task: FinetuneTask, *, overrides: list[str], which: str = "newest") -> Finetuned:
    """Fine-tune the encoder of a run, and beside it the backbone that its training started from.

    Raises:
        ConfigError: no such run or class, settings at odds, or `out` holds something else.
        CheckpointError: no such checkpoint.
        DataError: no label to train or to judge on, or a damaged file.
        TrainingError: the learning rate is too large for the network.
    """
    config = load_run_config(run_dir, overrides=[*overrides, *([f"data.val={task.shards}"] if task.shards else [])])
    trained, initial = find_checkpoint(run_dir.root, which=which), load_checkpoint(run_dir.initial_checkpoint)
    starts = [
        Start(TRAINED_DECODER, "decoder", lambda seed: encoder_of(config, trained.tensors, device="cpu")),
        Start(INITIAL_BACKBONE, "backbone", lambda seed: encoder_of(config, initial.tensors, device="cpu")),
    ]
    weights = {"trained": str(trained.numbers["sha256"]), "initial": str(initial.numbers["sha256"])}
    return _finetune(config, task, starts=starts, weights=weights, step=int(trained.numbers["step"]))


def finetune_backbone(task: FinetuneTask, *, overrides: list[str]) -> Finetuned:
    """Fine-tune a backbone with published weights, without a run: model.backbone and model.weights are among `overrides`. Else as `finetune_run`."""
    config = config_of(["model.decoder=linear", "model.bank_size=0", f"data.val={task.shards}", *overrides])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)  # a decoder, or a backbone with model.weights=none, is the same at every start
        encoder = build.build_encoder(config.model)
    tensors = {f"query/{name}": tensor for name, tensor in encoder.state_dict().items()}
    starts = [Start(BACKBONE, "backbone", lambda seed: encoder_of(config, tensors, device="cpu"))]
    return _finetune(config, task, starts=starts, weights={"backbone": weights_digest(encoder.backbone)}, step=0)


def _finetune(config: Config, task: FinetuneTask, *, starts: list[Start], weights: dict[str, str], step: int) -> Finetuned:
    out = RunDir(task.out)
    if out.initial_checkpoint.exists():
        raise ConfigError(f"--out {out.root} is the folder of a run, whose evaluation would be replaced; choose another one")
    if FINETUNE_FRACTION in task.protocols and config.model.position_debias != "none":
        raise ConfigError(
            f"{FINETUNE_FRACTION} trains all weights, and what model.position_debias={config.model.position_debias} takes from the features was measured for "
            "weights that do not change; fine-tune by --protocol linear"
        )
    starts = [*starts, *([Start(RANDOM_WEIGHTS, "backbone", partial(_random_encoder, config), measures_norms=True)] if task.with_random_weights else [])]
    began_s = time.monotonic()
    with StopWish() as stop:
        world = build.build_world(config)
        try:
            with lost_ranks_explained(world=world), ExitStack() as stack:
                build.prepare_process(config, world=world)
                build.prepare_workers(config)
                check_ranks(task.settings, num_ranks=world.num_ranks)
                run_on_first(lambda: TuneFolder(out.root).make(), world=world)
                mode = config.report.console if world.is_first else "off"
                console = stack.enter_context(Console(mode=mode, total_steps=1, samples_per_step=task.settings.batch))
                claim = run_on_first(lambda: claim_run(out.root, attempts=out.attempts, lease_s=config.run.lease_s, say=console.say), world=world)
                stack.enter_context(claim or nullcontext())
                if claim is not None:
                    with claim.fenced() as beside:
                        console.open_log(out.log, folder=beside)
                bench = _bench(config, task, weights=weights, world=world, console=console, stop=stop, claim=claim)
                if not _tune_all(bench, starts=starts):
                    code = agreed_exit_code(stop, world=world)
                    if claim is not None:
                        claim.note(exit_code=code)
                    console.say(f"stopped; what is done is kept in {out.root}, and the same command continues")
                    return Finetuned(None, code)
                evaluation = run_on_first(lambda: _evaluation(bench, starts=starts, step=step, wall_s=time.monotonic() - began_s), world=world)
                if evaluation is not None:
                    write_atomically(out.config, dump_config(replace(config, run=replace(config.run, dir=str(out.root)))).encode())
                    write_atomically(out.evaluation, evaluation.to_json().encode())
                    write_report(out)
                return Finetuned(evaluation)
        finally:
            leave_world()


def _random_encoder(config: Config, seed: int) -> Encoder:
    """Of the same architecture, its random weights a function of the seed; takes nothing from the process's own random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build.build_encoder(replace(config.model, position_debias="none"), pretrained=False)


def _bench(config: Config, task: FinetuneTask, *, weights: dict[str, str], world: World, console: Console, stop: StopWish, claim: Claim | None) -> _Bench:
    """Read and check everything that the fine-tunings share."""
    labels = _labels(config, "classes")
    train_labels = _labels(config, "train_classes").matched_to(labels) if config.evaluate.train_classes else labels
    classes = labels.names[first_class(labels) :]
    survey = partial(_surveyed, config=config, classes=classes, world=world, console=console)
    train = survey(task.train_shards, key="--train-shards", limit=config.evaluate.train_limit, labels=train_labels)
    judged = survey(config.data.val, key="--shards", limit=config.evaluate.limit, labels=labels)
    folder = TuneFolder(task.out)
    plan = {
        "weights": weights,
        "model": asdict(config.model),
        "settings": asdict(task.settings),
        "classes": labels.ids,
        "labelled photos": {"samples": train.digest, "num_photos": train.num_photos},
        "judged photos": {"samples": judged.digest, "num_photos": judged.num_photos},
    }
    run_on_first(lambda: folder.begin(plan), world=world)
    subsets = all_together(lambda: _subsets(task, train=train, folder=folder, is_first=world.is_first), world=world)
    tuner = Tuner(
        folder=folder,
        settings=task.settings,
        pace=Pace(
            num_workers=config.data.num_workers,
            prefetch=config.data.prefetch,
            judged_batch=config.evaluate.batch,
            log_every_steps=config.report.log_every_steps,
            save_every_steps=task.save_every_steps,
            saves_beside=config.checkpoint.asynchronous,
        ),
        classes=classes,
        train=train,
        judged=judged,
        judges_epochs=LINEAR_EXACT_PUBLISHED in task.protocols,
        world=world,
        console=console,
        stop=stop,
        claim=claim,
    )
    return _Bench(config, task, tuner, subsets)


def _labels(config: Config, name: str) -> LabelMap:
    classes = find_classes(getattr(config.evaluate, name), key=f"evaluate.{name}")
    return label_map(classes.ids, has_background=classes.has_background)


def _class_of_id(labels: LabelMap) -> UInt8[numpy.ndarray, " 256"]:
    """Classes counted from 0, whether or not the data set has a background."""
    first = first_class(labels)
    return numpy.where(labels.index_of == VOID_CLASS, VOID_CLASS, labels.index_of - numpy.uint8(first)).astype(numpy.uint8)


def _surveyed(
    location: str, *, key: str, limit: int, labels: LabelMap, config: Config, classes: tuple[str, ...], world: World, console: Console
) -> SurveyedShards:
    """The photos of a shard folder; what is odd about their labels is said."""
    reader = build.open_reader(location, key=key, data=config.data)
    if not reader.num_with(SEGMENTS_MEMBER):
        raise ConfigError(f"{key} {location} must hold ground truth, it holds none; build these shards with labels, without --no-labels")
    num_photos = min(limit or len(reader), len(reader))
    with console.counting("photo", total=num_photos):
        progress, num_done = ImageProgress(console, total=num_photos, num_ranks=world.num_ranks), 0
        num_own = len(range(world.rank, num_photos, world.num_ranks))

        def advance(num: int) -> None:
            nonlocal num_done
            num_done += num
            progress(num_done, num_own)

        survey = survey_labels(
            reader, num_photos=num_photos, class_of_id=_class_of_id(labels), num_workers=config.data.num_workers, world=world, on_progress=advance
        )
    if unknown := survey.unknown_ids:
        share = 100 * sum(unknown.values()) / int(survey.pixels.sum())
        console.say(f"{location}: ids that no class names are void: {', '.join(map(str, unknown))} ({share:.1f} % of the pixels)")
    if without := num_photos - len(survey.labelled):
        console.say(f"{location}: {without} of {num_photos} photos have no pixel of a class; nothing is trained on them")
    if absent := survey.absent(survey.labelled, num_classes=len(classes)):
        console.say(f"{location}: no label shows {', '.join(classes[number] for number in absent)}")
    return SurveyedShards(reader, location, survey, content_of(reader).digest)


def _subsets(task: FinetuneTask, *, train: SurveyedShards, folder: TuneFolder, is_first: bool) -> Subsets:
    """Those of --subsets, or new ones, which go on with those that are there. Every rank has the same, and the first one writes them."""
    if FINETUNE_FRACTION not in task.protocols:
        return Subsets(samples=train.digest, num_photos=len(train.labelled), orders={})
    keys, path = [train.reader.key(sample) for sample in train.labelled], folder.subsets
    wanted: dict[str, Any] = {"samples": train.digest, "fractions_percent": task.fractions_percent, "seeds": task.seeds}
    given = None if task.subsets is None else read_subsets(task.subsets)
    there = read_subsets(path) if path.is_file() else None
    if given is not None and there not in (None, given):
        raise ConfigError(f"{path} holds other subsets than {task.subsets}, and fine-tunings of them; choose another --out, or leave out --subsets")
    drawn = draw_subsets(keys, **wanted)
    found = given or (drawn if there is None else extended(there, drawn=drawn))
    check_subsets(found, path=task.subsets or path, keys=keys, **wanted)
    if is_first and found != there:
        write_subsets(found, path=path)
    return found


def _tunings(task: FinetuneTask, *, starts: Sequence[Start]) -> list[tuple[Tuning, Start]]:
    """In the order in which they are done: a seed is complete before the next begins."""
    shares: list[float | None] = [None] if set(task.protocols) & set(LINEAR) else []
    shares += list(task.fractions_percent) if FINETUNE_FRACTION in task.protocols else []
    return [(Tuning(start=start.name, percent=percent, seed=seed), start) for seed in task.seeds for percent in shares for start in starts]


def _tune_all(bench: _Bench, *, starts: Sequence[Start]) -> bool:
    """Do what is not done; False where a signal ended it."""
    asked = _tunings(bench.task, starts=starts)
    tuner = bench.tuner
    done = all_together(lambda: [tuner.is_done(tuning) for tuning, _ in asked], world=tuner.world)
    left = [pair for pair, is_done in zip(asked, done, strict=True) if not is_done]
    plans = [_planned(bench, tuning) for tuning, _ in left]
    if left:
        build.check_size("--size", tuner.settings.size_px, encoder=left[0][1].make(0), backbone=bench.config.model.backbone)
    if sum(done):
        tuner.console.say(f"{sum(done)} of {len(asked)} fine-tunings are done")
    for number, ((tuning, start), (samples, schedule)) in enumerate(zip(left, plans, strict=True), start=1):
        tuner.console.say(
            f"fine-tuning {number} of {len(left)}: {tuning.words}, {len(samples):,} photos, {schedule.num_steps:,} steps of {schedule.batch} photos"
        )
        if not tune_one(
            tuner, tuning, start=start, samples=samples, schedule=schedule, encoder_path=_encoder_path(bench.task, tuning, num_steps=schedule.num_steps)
        ):
            return False
    return True


def _encoder_path(task: FinetuneTask, tuning: Tuning, *, num_steps: int) -> Path | None:
    """Where the fine-tuned encoder is kept that others may load: all labels, the first seed, no floor and no baseline of a run."""
    is_kept = tuning.percent == max(task.fractions_percent) and tuning.seed == 0 and tuning.start in (TRAINED_DECODER, BACKBONE)
    return RunDir(task.out).checkpoints / name_of(num_steps) if is_kept else None


def _planned(bench: _Bench, tuning: Tuning) -> tuple[list[int], Schedule]:
    """The samples and the schedule of one."""
    labelled, settings = bench.tuner.train.labelled, bench.task.settings
    if tuning.percent is None:
        return labelled, epochs_schedule(settings, num_photos=len(labelled))
    keys = bench.subsets.keys(percent=tuning.percent, seed=tuning.seed)
    place_of = {bench.tuner.train.reader.key(sample): sample for sample in labelled} if keys is not None else {}
    samples = labelled if keys is None else sorted(place_of[key] for key in keys)
    return samples, steps_schedule(settings, num_photos=len(samples), num_photos_of_all=len(labelled))


def _evaluation(bench: _Bench, *, starts: Sequence[Start], step: int, wall_s: float) -> Evaluation:
    task, config, tuner = bench.task, bench.config, bench.tuner
    judged, train = tuner.judged, tuner.train
    labels = _labels(config, "classes")
    shown = set(range(len(tuner.classes))) - set(judged.survey.absent(judged.labelled, num_classes=len(tuner.classes)))
    truth = truth_of(labels, present=[tuner.classes[number] for number in sorted(shown)])

    def results(percent: float | None) -> dict[str, list[TuneResult]]:
        tunings = {start.name: [Tuning(start=start.name, percent=percent, seed=seed) for seed in task.seeds] for start in starts}
        return {name: [result for tuning in own if (result := tuner.folder.read(tuning)) is not None] for name, own in tunings.items()}

    rows: list[Row] = []
    if set(task.protocols) & set(LINEAR):
        rows += linear_rows(results(None), names=task.protocols, truth=truth)
    if FINETUNE_FRACTION in task.protocols:
        rows += fraction_rows({percent: results(percent) for percent in task.fractions_percent}, truth=truth)
    of_all = f" of {len(train.reader):,} (a subset)" if train.num_photos < len(train.reader) else ""
    is_lone = starts[0].name == BACKBONE
    return Evaluation(
        step=step,
        dataset=judged.location,
        has_truth=True,
        classes=truth.classes,
        num_photos=judged.num_photos,
        num_photos_in_dataset=len(judged.reader),
        mask_iou_percent={},
        rows=tuple(rows),
        headline=0,
        protocols={name: asdict(PROTOCOLS[name].switches(task.settings)) for name in task.protocols},
        settings={
            "classes": labels.ids,
            "absent_classes": [name for name in tuner.classes if name not in truth.classes],
            **({"backbone": f"{config.model.backbone}:{config.model.weights}"} if is_lone else {}),
            "fitted on": f"{len(train.labelled):,}{of_all} labelled photos of {train.location}",
            "limit": config.evaluate.limit or None,
            "device": tuner.world.device.type,
            "size_px": task.settings.size_px,
            "iou": "over all pixels but void, whole set; background takes part",
            "counts": {},
        },
        wall_s=wall_s,
        photos=judged.digest,
    )
