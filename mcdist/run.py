"""The story of a run: build, then for each step log and checkpoint; afterwards evaluate and report. Reading starts here."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import numpy
import torch

from mcdist import build
from mcdist.checkpoint import find_checkpoint, load_checkpoint, load_newest, save_checkpoint
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.config.science import check_same_science
from mcdist.data.loader import evaluation_samples
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.sample import SEGMENTS_MEMBER, decode_sample
from mcdist.distributed import World
from mcdist.errors import ConfigError
from mcdist.evaluate.evaluation import evaluate, evaluate_unlabelled
from mcdist.evaluate.subject import EncoderPair, PhotoSet
from mcdist.model.encoder import Encoder
from mcdist.outputs import Outputs, header_facts, publish
from mcdist.ranks.agree import agreed_exit_code, first_alone, lost_ranks_told
from mcdist.ranks.join import leave_world
from mcdist.ranks.watchdog import Watchdog
from mcdist.records import Evaluation, Example, Record
from mcdist.report.clusters import save_clusters
from mcdist.report.console import Console
from mcdist.report.html import write_report
from mcdist.report.panels import save_panels
from mcdist.resilience.claim import Claim, take
from mcdist.resilience.stop import StopWish
from mcdist.run_dir import RunDir, write_atomically
from mcdist.train.loop import Progress, train
from mcdist.train.state import TrainState, load_module

PROGRESS_EVERY_S = 5.0


def train_run(config: Config) -> int:
    """Train `config` to its end, from where its run folder stands. Returns 0, or the exit code of the signal that stopped it (`mcdist.resilience.stop`)."""
    with StopWish() as stop:
        world = build.build_world(config)
        try:
            with lost_ranks_told(world=world):
                return _train(config, world=world, stop=stop)
        finally:
            leave_world()


def _train(config: Config, *, world: World, stop: StopWish) -> int:
    build.prepare_process(config, world=world)
    build.prepare_workers(config)
    folder = build.build_shards(config.data.train, key="data.train", data=config.data)
    loop = build.loop_settings(config, num_samples=len(folder), num_ranks=world.num_ranks)
    run_dir = RunDir(Path(config.run.dir)).create()
    check_same_science(config, run_dir)
    state = build.build_state(config, world=world)

    with ExitStack() as stack:
        console = stack.enter_context(
            Console(
                mode=config.report.console if world.is_first else "off",
                total_steps=loop.num_steps,
                samples_per_step=loop.global_batch,
                log=run_dir.log if world.is_first else None,
            )
        )
        claim = first_alone(lambda: take(run_dir.root, attempts=run_dir.attempts, lease_s=config.run.lease_s, say=console.say), world=world)
        stack.enter_context(claim or nullcontext())
        stack.enter_context(lost_ranks_told(world=world))
        resume(state, run_dir, claim=claim, console=console)
        if state.step >= loop.num_steps:
            console.say(f"{run_dir.root} is trained: {state.step} of {loop.num_steps} steps; evaluate it with: mcdist evaluate {run_dir.root}")
            return 0
        if world.begin_any(stop.signal_number != 0)():
            console.say(f"stopped before the first step of this start, after step {state.step} of {loop.num_steps}; the same command continues")
            return leave(stop, claim=claim, world=world)
        console.header("mcdist train", facts=header_facts(config, run_dir, state, num_samples=len(folder), num_steps=loop.num_steps))
        if warning := build.cache_warning(config, folder):
            console.warn(warning)
        if staged := build.stage_shards(config, folder, world=world):
            console.say(staged)
        outputs = stack.enter_context(Outputs(config, run_dir, state, num_steps=loop.num_steps, claim=claim, console=console))
        loader = build.build_batches(config, folder, world=world, consumed=state.samples_consumed, num_steps=loop.num_steps - state.step)
        batches = stack.enter_context(closing(iter(loader)))
        progress: Iterator[Progress] = train(
            state,
            batches,
            settings=loop,
            step=build.step_settings(config),
            should_stop=lambda: stop() or outputs.must_stop(),
            on_bad_samples=outputs.list_bad_samples,
        )
        watchdog = stack.enter_context(Watchdog(timeout_s=config.run.hang_timeout_s, rank=world.rank, folder=run_dir.stacks, log=run_dir.log))
        for now in progress:
            watchdog.beat()
            outputs.log(now.records)
            if now.stopped or now.step == loop.num_steps or now.step % config.checkpoint.every_steps == 0:
                outputs.save(state)
        outputs.settle()
        if state.step < loop.num_steps:
            console.say(f"stopped after step {state.step} of {loop.num_steps} and saved; the same command continues")
            return leave(stop, claim=claim, world=world)
    return 0


def leave(stop: StopWish, *, claim: Claim | None, world: World) -> int:
    """The exit code of a run that was stopped, the same on all ranks and written down."""
    code = agreed_exit_code(stop, world=world)
    if claim is not None:
        claim.note(exit_code=code)
    return code


def resume(state: TrainState, run_dir: RunDir, *, claim: Claim | None, console: Console) -> None:
    """Continue from the newest whole checkpoint, if there is one; else keep the encoder as it starts, as the evaluation's baseline."""
    checkpoint = load_newest(run_dir.checkpoints, warn=console.warn)
    if checkpoint is not None:
        state.load(checkpoint.tensors, numbers=checkpoint.numbers)
        console.say(f"continuing {run_dir.root} after step {state.step}")
    elif claim is not None:
        tensors = {f"query/{name}": tensor for name, tensor in state.query.state_dict().items()}
        with claim.fenced() as folder:
            save_checkpoint(run_dir.initial_checkpoint, tensors=tensors, numbers={"step": 0}, folder=folder)
    state.engine.world.barrier()


def evaluate_run(run_dir: RunDir, *, overrides: list[str], which: str) -> Evaluation:
    """Cluster the run's embeddings beside its baselines' on the validation shards; writes evaluation.json, panels and report.html.

    Where the shards hold no ground truth, or `data.val` names none and the training shards serve, the clusters are shown without a score.
    """
    if not run_dir.config.is_file():
        raise ConfigError(f"expected a run at {run_dir.root} (its {run_dir.config.name}), found none; train first: mcdist train CONFIG run.dir={run_dir.root}")
    config = load_config(run_dir.config, overrides=overrides)
    world = build.build_world(config)
    if world.num_ranks > 1:
        raise ConfigError(f"mcdist evaluate runs as one process, here are {world.num_ranks}; start it without torchrun")
    build.prepare_process(config, world=world)
    location = config.data.val or config.data.train
    folder = build.build_shards(location, key="data.val", data=config.data)
    has_truth = bool(config.data.val) and folder.num_with(SEGMENTS_MEMBER) > 0
    trained = find_checkpoint(run_dir.root, which=which)
    initial = load_checkpoint(run_dir.initial_checkpoint)
    limit = config.evaluate.limit
    with Console(mode=config.report.console, total_steps=min(limit or len(folder), len(folder)), samples_per_step=1) as console:
        console.say(f"evaluating {run_dir.root} after step {trained.numbers['step']} on {location}")
        encoders = EncoderPair(
            trained=_encoder(config, trained.tensors, world=world),
            initial=_encoder(config, initial.tensors, world=world),
            step=int(trained.numbers["step"]),
            device=world.device,
        )
        photos = PhotoSet(evaluation_samples(folder, limit=limit, with_segments=has_truth), dataset=location, num_photos=len(folder))
        settings, on_progress = build.evaluation_settings(config), _photo_progress(console)
        examples: tuple[tuple[Example, ...], ...] = ()
        if has_truth:
            classes = {name: list(ids) for name, ids in config.evaluate.classes.items()}
            evaluation, panels = evaluate(photos, encoders=encoders, settings=settings, classes=classes, on_progress=on_progress)
        else:
            console.say(
                f"{location} holds no ground truth{'' if config.data.val else ' to evaluate with (data.val is not set)'}: clusters are shown without a score"
            )
            evaluation, panels, examples = evaluate_unlabelled(photos, encoders=encoders, settings=settings, on_progress=on_progress)
    write_atomically(run_dir.evaluation, evaluation.to_json().encode())
    save_panels(panels, run_dir.panels, classes=evaluation.classes)
    save_clusters([[_shown(folder, example) for example in cluster] for cluster in examples], run_dir.clusters)
    write_report(run_dir)
    publish(config, run_dir, evaluation)
    return evaluation


def _shown(folder: SampleReader, example: Example) -> tuple[numpy.ndarray, tuple[float, float, float, float]]:
    """An example's photo, and where the object is in it."""
    return decode_sample(folder.read(example.sample)).photo.permute(1, 2, 0).numpy(), example.box


def _photo_progress(console: Console) -> Callable[[int], None]:
    """Tells the console about the photos done, every few seconds."""
    began_s = time.perf_counter()
    last_s = began_s

    def on_progress(num_done: int) -> None:
        nonlocal last_s
        now_s = time.perf_counter()
        if now_s - last_s >= PROGRESS_EVERY_S:
            last_s = now_s
            console.update([Record(num_done, "images_per_s", num_done / (now_s - began_s), "1/s")])

    return on_progress


def _encoder(config: Config, tensors: dict[str, torch.Tensor], *, world: World) -> Encoder:
    encoder = build.build_encoder(config.model, pretrained=False)
    load_module(encoder, tensors, prefix="query/")
    return encoder.to(world.device).eval()
