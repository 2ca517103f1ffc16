"""The story of a training: build, then for each step log and checkpoint. Reading starts here; `mcdist.workflows.evaluation` goes on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

from mcdist import build
from mcdist.config import Config
from mcdist.config.science import check_same_science
from mcdist.data.readers.content import Content, content_of
from mcdist.disk.checkpoint import Checkpoint, load_newest, save_checkpoint
from mcdist.distributed import World
from mcdist.errors import ConfigError
from mcdist.outputs import Outputs, header_facts
from mcdist.passes.caching import cache_views
from mcdist.passes.held_out import open_held_out
from mcdist.passes.preparation import chosen, prepare_groups
from mcdist.ranks.agree import agreed_exit_code, all_together, lost_ranks_explained, run_on_first
from mcdist.ranks.join import leave_world
from mcdist.ranks.watchdog import Watchdog
from mcdist.report.console import Console
from mcdist.resilience.claim import Claim, claim_run
from mcdist.resilience.stop import StopWish
from mcdist.run_dir import RunDir
from mcdist.train.loop import Progress, train
from mcdist.train.state import TrainState


def train_run(config: Config) -> int:
    """Train `config` to its end, from where its run folder is. Returns 0, or the exit code of the signal that stopped it (`mcdist.resilience.stop`)."""
    with StopWish() as stop:
        world = build.build_world(config)
        try:
            with lost_ranks_explained(world=world):
                return _train(config, world=world, stop=stop)
        finally:
            leave_world()


def _train(config: Config, *, world: World, stop: StopWish) -> int:
    build.prepare_process(config, world=world)
    build.prepare_workers(config)
    reader = build.open_reader(config.data.train, key="data.train", data=config.data)
    loop = build.loop_settings(config, num_samples=len(reader), num_ranks=world.num_ranks)
    run_dir = RunDir(Path(config.run.dir))
    if not config.groups.choose:  # else the encoder's heads are not known yet
        changes = check_same_science(config, run_dir)
        state = build.build_state(config, world=world)
    run_dir.create()

    with ExitStack() as stack:
        console = stack.enter_context(
            Console(mode=config.report.console if world.is_first else "off", total_steps=loop.num_steps, samples_per_step=loop.global_batch)
        )
        claim = run_on_first(lambda: claim_run(run_dir.root, attempts=run_dir.attempts, lease_s=config.run.lease_s, say=console.say), world=world)
        stack.enter_context(claim or nullcontext())
        stack.enter_context(lost_ranks_explained(world=world))
        attempt_folder = share_attempt(claim, run_dir=run_dir, console=console, world=world)
        content = run_on_first(lambda: content_of(reader), world=world)
        groups: Path | None = None
        if config.groups.choose:
            groups = prepare_groups(config, reader, run_dir, world=world, console=console, claim=claim, attempt_folder=attempt_folder, should_stop=stop)
            if groups is None:
                console.say("stopped before the groups were made; the same command continues")
                return leave(stop, claim=claim, world=world)
            config = chosen(config, groups, world=world, say=console.say)
            changes = check_same_science(config, run_dir)
            state = build.build_state(config, world=world)
        resume(state, run_dir, content=content, claim=claim, console=console)
        for note in state.notes if state.step == 0 else ():
            console.say(note)
        for change in changes:
            console.say(f"changed on purpose (run.allow_changes): {change}, after step {state.step}")
        if state.step >= loop.num_steps:
            console.say(f"{run_dir.root} is trained: {state.step} of {loop.num_steps} steps; evaluate it with: mcdist evaluate {run_dir.root}")
            return 0
        if world.begin_any(stop.signal_number != 0)():
            return leave_early(stop, state=state, num_steps=loop.num_steps, claim=claim, console=console)
        console.header("mcdist train", facts=header_facts(config, run_dir, state, num_samples=len(reader), num_steps=loop.num_steps))
        if warning := build.cache_warning(config, reader):
            console.warn(warning)
        if staged := build.stage_shards(config, reader, world=world):
            console.say(staged)
        if config.groups.num_groups:
            groups = groups or prepare_groups(
                config, reader, run_dir, world=world, console=console, claim=claim, attempt_folder=attempt_folder, should_stop=stop
            )
            if groups is None:
                return leave_early(stop, state=state, num_steps=loop.num_steps, claim=claim, console=console)
            load_groups(state, config, groups, content=content, num_samples=len(reader))
        cached = cache_views(config, reader, state=state, run_dir=run_dir, content=content, should_stop=stop, console=console)
        if world.begin_any(stop.signal_number != 0)():
            return leave_early(stop, state=state, num_steps=loop.num_steps, claim=claim, console=console)
        held_out = all_together(lambda: open_held_out(config, world=world), world=world)
        outputs = stack.enter_context(Outputs(config, run_dir, state, num_steps=loop.num_steps, content=content, claim=claim, console=console))
        loader = build.build_batches(config, reader, world=world, consumed=state.samples_consumed, num_steps=loop.num_steps - state.step, cached=cached)
        batches = stack.enter_context(closing(iter(loader)))
        progress: Iterator[Progress] = train(
            state,
            batches,
            settings=loop,
            step=build.step_settings(config),
            should_stop=lambda: stop() or outputs.must_stop(),
            on_bad_samples=outputs.list_bad_samples,
        )
        watchdog = stack.enter_context(
            Watchdog(timeout_s=config.run.hang_timeout_s, rank=world.rank, folder=run_dir.stacks, log=run_dir.log, attempt_folder=attempt_folder)
        )
        for now in progress:
            watchdog.beat()
            outputs.log(now.records)
            if held_out is not None and now.step % config.evaluate.every == 0:
                held_out.judge_now(state, outputs=outputs)
                watchdog.beat()
            if now.stopped or now.step == loop.num_steps or now.step % config.checkpoint.every_steps == 0:
                outputs.save(state)
        outputs.finish_saving()
        if state.step < loop.num_steps:
            console.say(f"stopped after step {state.step} of {loop.num_steps} and saved; the same command continues")
            return leave(stop, claim=claim, world=world)
    return 0


def share_attempt(claim: Claim | None, *, run_dir: RunDir, console: Console, world: World) -> Path:
    """Open the log, and tell every rank the folder of this attempt: what is made there and renamed can come from no older attempt."""
    if claim is not None:
        with claim.fenced() as folder:
            console.open_log(run_dir.log, folder=folder)
    (attempt_folder,) = world.gather_texts([] if claim is None else [str(claim.folder)])
    return Path(attempt_folder)


def leave_early(stop: StopWish, *, state: TrainState, num_steps: int, claim: Claim | None, console: Console) -> int:
    """`leave`, where no step of this start was taken."""
    console.say(f"stopped before the first step of this start, after step {state.step} of {num_steps}; the same command continues")
    return leave(stop, claim=claim, world=state.world)


def leave(stop: StopWish, *, claim: Claim | None, world: World) -> int:
    """The exit code of a run that was stopped, the same on all ranks and written into the attempt's record."""
    code = agreed_exit_code(stop, world=world)
    if claim is not None:
        claim.note(exit_code=code)
    return code


def resume(state: TrainState, run_dir: RunDir, *, content: Content | None, claim: Claim | None, console: Console) -> None:
    """Continue from the newest whole checkpoint, if there is one; else keep the encoder as it starts, as the evaluation's baseline.

    Raises:
        ConfigError: the checkpoint's run was trained on other samples than `content`, which rank 0 knows.
    """
    world = state.world
    checkpoint = load_newest(run_dir.checkpoints, warn=console.warn)
    if checkpoint is not None:
        run_on_first(lambda: check_same_content(checkpoint, content=content, warn=console.warn), world=world)
        state.load(checkpoint.tensors, numbers=checkpoint.numbers)
        console.say(f"continuing {run_dir.root} after step {state.step}")
    elif claim is not None:
        tensors = {f"query/{name}": tensor for name, tensor in state.query.state_dict().items()}
        with claim.fenced() as folder:
            save_checkpoint(run_dir.initial_checkpoint, tensors=tensors, numbers={"step": 0}, folder=folder)
    world.barrier()


def check_same_content(checkpoint: Checkpoint, *, content: Content | None, warn: Callable[[str], None]) -> None:
    """A run continues on the samples that it began with, wherever they are now; `warn` hears of a checkpoint that does not know them.

    Raises:
        ConfigError: they are other samples.
    """
    assert content is not None
    before = checkpoint.numbers.get("data")
    if before is None:
        warn(f"{checkpoint.path} does not record which samples its run was trained on; continuing with the {content.num_samples} at {content.where}")
    elif before["digest"] != content.digest:
        raise ConfigError(
            f"the run of {checkpoint.path} was trained on {before['num_samples']} samples (digest {before['digest'][:12]}, at {before['where']}), data.train "
            f"names {content.num_samples} others (digest {content.digest[:12]}, at {content.where}); name the same shards, give this run its own folder "
            f"with run.dir=PATH, or start from its weights with checkpoint.init_from={checkpoint.path}"
        )


def load_groups(state: TrainState, config: Config, folder: Path, *, content: Content | None, num_samples: int) -> None:
    """Give the state the groups in `folder`. A run continues with those that it began with, wherever they are. All ranks call this; rank 0 knows the content.

    Raises:
        ConfigError: they are of other samples or objects, or the run learnt others.
        DataError: they are damaged, or not there.
    """
    (samples,) = state.world.gather_texts([] if content is None else [content.digest])
    table = all_together(lambda: build.read_groups(folder, config, samples=samples, num_samples=num_samples), world=state.world)
    if state.learnt not in (None, table.digest):
        raise ConfigError(
            f"this run learnt other groups (digest {state.learnt[:12]}) than those of {folder} (digest {table.digest[:12]}); name the same with "
            "groups.given=FOLDER, or start a run of its own from these weights: run.dir=PATH checkpoint.init_from=RUN"
        )
    state.table = table.to(state.world.device)
