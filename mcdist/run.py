"""The story of a training: build, then for each step log and checkpoint. Reading starts here; `mcdist.evaluation` goes on."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

from mcdist import build
from mcdist.checkpoint import load_newest, save_checkpoint
from mcdist.config import Config
from mcdist.config.science import check_same_science
from mcdist.distributed import World
from mcdist.outputs import Outputs, header_facts
from mcdist.ranks.agree import agreed_exit_code, first_alone, lost_ranks_told
from mcdist.ranks.join import leave_world
from mcdist.ranks.watchdog import Watchdog
from mcdist.report.console import Console
from mcdist.resilience.claim import Claim, take
from mcdist.resilience.stop import StopWish
from mcdist.run_dir import RunDir
from mcdist.train.loop import Progress, train
from mcdist.train.state import TrainState


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
