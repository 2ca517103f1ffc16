"""One rank of scaling.py: the same step alone, without its gradients' exchange, and whole, in turns, so that a drift of the machine falls on all three.

    alone     no exchange at all, yet as many candidates in the loss as with all ranks, while the other ranks compute the same beside it:
              computation, with the contention for memory that n processes make
    together  the ranks exchange everything but gradients
    whole     what training does
    exchange  the gradients' all-reduce on its own, every rank waiting for it

Every step begins with all ranks at a barrier that is not timed; its time is the slowest rank's (scaling.py takes it). A rank prints one JSON
object, with the CPU's time beside the clock's: other work on the machine changes it less, and waiting is not in it.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import torch.distributed as dist
import typer

from benchmarks.harness.pretend_run import fill, pretend_batches, pretend_steps
from benchmarks.harness.ranks import bind_to_core
from benchmarks.scaling.traffic import needed_bytes, traffic, wire_bytes
from mcdist import build
from mcdist.config import Config, DataConfig, ModelConfig, OptimConfig, ReportConfig, RunConfig, ViewsConfig
from mcdist.disk.checkpoint import save_checkpoint
from mcdist.distributed import World, all_gather_flat
from mcdist.ranks.join import leave_world
from mcdist.train.engines import ddp as engine_ddp
from mcdist.train.state import TrainState

WARMUP_STEPS = 3
NETWORK_BYTES = (2**12, 2**16, 2**19, 2**21, 2**23)
NETWORK_REPEATS = 7
BUCKET_BYTES = 25 * 2**20


def config_of(*, global_batch: int, size_px: int, num_stages: int) -> Config:
    """A ResNet-18 on one thread a rank."""
    return Config(
        run=RunConfig(device="cpu", num_threads=1),
        data=DataConfig(num_workers=0, num_lanes=1),
        views=ViewsConfig(size_px=size_px, max_objects=4),
        model=ModelConfig(backbone="resnet18", num_stages=num_stages, decoder="linear", bank_size=256),
        optim=OptimConfig(global_batch=global_batch),
        report=ReportConfig(log_every_steps=10**6),
    )


def alone_config(config: Config, *, num_ranks: int) -> Config:
    """One rank's share of the batch, with a bank larger by the other ranks' prototypes: the loss has as many candidates as in the real step."""
    local = config.optim.global_batch // num_ranks
    others = (num_ranks - 1) * local * config.views.max_objects
    return replace(config, optim=replace(config.optim, global_batch=local), model=replace(config.model, bank_size=config.model.bank_size + others))


def without_gradients(state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A hook that leaves every rank its own gradients."""
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def stepper(config: Config, *, world: World) -> tuple[TrainState, Callable[[], object]]:
    """(state, a function that takes a step), warm."""
    state = build.build_state(config, world=world)
    fill(state)
    steps = pretend_steps(config, state, batches=pretend_batches(config, world=world))
    for _ in range(WARMUP_STEPS):
        next(steps)
    return state, lambda: next(steps)


def all_reduce(num_bytes: int) -> Callable[[], object]:
    """All-reduces so many bytes in buckets as DDP makes them, all under way at once."""
    buckets = [torch.zeros(min(BUCKET_BYTES, num_bytes - start) // 4) for start in range(0, num_bytes, BUCKET_BYTES)]
    return lambda: [work.wait() for work in [dist.all_reduce(bucket, async_op=True) for bucket in buckets]]


def all_gather(num_bytes: int, *, num_ranks: int) -> Callable[[], object]:
    """Gathers so many bytes in all."""
    own = torch.zeros(num_bytes // num_ranks, dtype=torch.uint8)
    everyone = own.new_empty(len(own) * num_ranks)
    return lambda: all_gather_flat(everyone, own)


def timed_s(action: Callable[[], object], *, world: World) -> tuple[float, float]:
    """(clock, CPU over all threads) from the moment that all ranks are ready to this rank's end."""
    world.barrier()
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began_s, time.process_time() - cpu_began_s


def network_s(world: World) -> dict[str, list[list[float]]]:
    """Seconds of each repeat, a list a size of NETWORK_BYTES."""
    if world.num_ranks == 1:
        return {}
    return {
        "all_reduce": [[timed_s(all_reduce(size), world=world)[0] for _ in range(NETWORK_REPEATS)] for size in NETWORK_BYTES],
        "all_gather": [[timed_s(all_gather(size, num_ranks=world.num_ranks), world=world)[0] for _ in range(NETWORK_REPEATS)] for size in NETWORK_BYTES],
    }


def checkpoint_facts(state: TrainState) -> dict[str, float]:
    """Bytes, and seconds to copy a state within memory and to write it."""
    began_s = time.perf_counter()
    tensors = {name: tensor.detach().clone() for name, tensor in state.tensors().items()}
    copied_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "step_00000001", tensors=tensors, numbers={})
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return {"bytes": num_bytes, "copy_s": copied_s - began_s, "write_s": time.perf_counter() - copied_s}


def measure(config: Config, *, world: World, num_rounds: int) -> dict[str, Any]:
    """All of it, as scaling.py reads it."""
    build.prepare_process(config, world=world)
    whole_state, whole = stepper(config, world=world)
    first_step_s = time.time() - float(os.environ.get("BENCHMARK_BEGAN", "nan"))
    _, alone = stepper(alone_config(config, num_ranks=world.num_ranks), world=World(0, 1, world.device))
    actions = {"alone": alone, "whole": whole}
    gradients_bytes = 4 * sum(parameter.numel() for parameter in whole_state.query.parameters() if parameter.requires_grad)
    found: dict[str, Any] = {"gradients_bytes": gradients_bytes, "first_step_s": first_step_s, "network": network_s(world)}
    if world.num_ranks > 1:
        with patch.object(engine_ddp, "register_exchange", lambda ddp, name: ddp.register_comm_hook(None, without_gradients)):
            _, actions["together"] = stepper(config, world=world)
        actions["exchange"] = all_reduce(gradients_bytes)
        found["traffic"] = traffic_of(whole_state, whole, world=world)
    found["steps"], found["cpu"] = {name: [] for name in actions}, {name: [] for name in actions}
    for _ in range(num_rounds):
        for name, action in actions.items():
            clock_s, cpu_s = timed_s(action, world=world)
            found["steps"][name].append(clock_s)
            found["cpu"][name].append(cpu_s)
    found["checkpoint"] = checkpoint_facts(whole_state)
    return found


def traffic_of(state: TrainState, step: Callable[[], object], *, world: World) -> dict[str, Any]:
    """One step's calls and bytes by purpose, and what passed the sockets beside what had to."""
    world.barrier()
    before = wire_bytes()
    with traffic(state) as seen:
        step()
    world.barrier()
    after = wire_bytes()
    needed = needed_bytes(state, prototypes_bytes=seen.num_bytes["prototypes"])
    wire = after - before if before is not None and after is not None else None
    return {"calls": dict(seen.calls), "bytes": dict(seen.num_bytes), "wire_bytes": wire, "needed_bytes": needed}


def main(
    local_batch: Annotated[int, typer.Option(min=1)] = 8,
    size_px: Annotated[int, typer.Option(min=8)] = 96,
    num_stages: Annotated[int, typer.Option(min=3)] = 4,
    num_rounds: Annotated[int, typer.Option(min=1)] = 12,
) -> None:
    """Measure as the rank that the environment names."""
    rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    bind_to_core(rank)
    config = config_of(global_batch=local_batch * num_ranks, size_px=size_px, num_stages=num_stages)
    world = build.build_world(config)
    try:
        found = measure(config, world=world, num_rounds=num_rounds)
    finally:
        leave_world()
    print(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
