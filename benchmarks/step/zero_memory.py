"""What does each rank hold between the backward pass and the update, under DDP and under ZeRO?

    python -m benchmarks.step.zero_memory --ranks 4 --json zero_memory.json

Ranks are processes of this machine, gloo between them. After two whole steps a third one stops before its update, and every tensor that
Python can reach is counted, each storage once: the optimizer's momentum, ZeRO's float32 master weights, and gradients, which are all
storages that are new since the step began and DDP's buckets. The last are also counted between the two micro-batches of the step. Query
and key encoder, bank and photos are held alike and left out. The medians and percentiles are over the ranks. Photos are random and small:
neither counts here.
"""

import gc
import json as json_text
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist import build
from mcdist.choices import OptimizerKind
from mcdist.config import Config, DataConfig, ModelConfig, OptimConfig, RunConfig
from mcdist.ranks.join import leave_world
from mcdist.train.state import TrainState

ENGINES: dict[str, dict[str, Any]] = {
    "DDP": {"engine": "ddp"},
    "ZeRO 1": {"engine": "deepspeed", "zero_stage": 1},
    "ZeRO 2": {"engine": "deepspeed", "zero_stage": 2},
}
KINDS = ("momentum", "gradients", "master weights", "gradients between micro-batches")
NUM_WARM_STEPS = 2
PHOTO_PX, PHOTOS = 32, 2
TIMEOUT_S = 540


def storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Address and bytes of each storage, once."""
    held = (tensor.untyped_storage() for tensor in tensors if tensor.device.type != "meta")
    return {storage.data_ptr(): storage.nbytes() for storage in held if storage.nbytes()}


def reachable() -> dict[int, int]:
    """The storages of all tensors that Python can reach."""
    return storages(item for item in gc.get_objects() if issubclass(type(item), Tensor))


def backward(state: TrainState, *, seed: int, between: Callable[[], None] = lambda: None) -> None:
    """The forward and backward pass of two micro-batches; `between` is called between them."""
    generator = torch.Generator().manual_seed(seed)
    for last in (False, True):
        images = torch.randn(PHOTOS, 3, PHOTO_PX, PHOTO_PX, generator=generator)
        embedded = state.engine.forward(images, last=last)
        state.engine.backward(embedded.features.square().mean() + embedded.saliency.mean(), last=last, summed=False)
        del images, embedded
        if not last:
            between()


def held_mib(state: TrainState) -> dict[str, float]:
    """MiB of each kind, between a backward pass and the update."""
    engine: Any = state.engine
    for step in range(NUM_WARM_STEPS):
        backward(state, seed=step)
        engine.step(lr=1e-3)
    gc.collect()
    before, own = reachable(), parts_of(state)
    counted: list[int] = []
    backward(state, seed=NUM_WARM_STEPS, between=lambda: counted.append(gradient_bytes(state, before=before, own=own)))
    counted.append(gradient_bytes(state, before=before, own=own))
    momentum, master = (sum(own[kind].values()) for kind in ("momentum", "master weights"))
    return {kind: held / 2**20 for kind, held in zip(KINDS, (momentum, counted[1], master, counted[0]), strict=True)}


def parts_of(state: TrainState) -> dict[str, dict[int, int]]:
    """The storages that are no gradients, by what they are."""
    engine: Any = state.engine
    whole = storages(tensor for module in (state.query, state.key) for tensor in [*module.parameters(), *module.buffers()])
    updated = storages(parameter for group in engine.optimizer.param_groups for parameter in group["params"])
    momentum = storages(value for values in engine.optimizer.state.values() for value in values.values())
    return {"encoders": whole, "momentum": momentum, "master weights": {address: size for address, size in updated.items() if address not in whole}}


def gradient_bytes(state: TrainState, *, before: dict[int, int], own: dict[str, dict[int, int]]) -> int:
    """Bytes of the parameters' gradients, and of all storages that were not there `before` and are nothing else."""
    gc.collect()
    buckets = storages(parameter.grad for parameter in state.query.parameters() if parameter.grad is not None)
    others = {address for part in own.values() for address in part} | (before.keys() - buckets.keys())
    return sum(size for address, size in (reachable() | buckets).items() if address not in others)


def on_rank(rank: int, num_ranks: int, port: int, engine: str, backbone: str, optimizer: OptimizerKind, bucket_mib: float, folder: Path) -> None:
    """One rank: build, step, count, write down."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_ranks, "LOCAL_WORLD_SIZE": num_ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    config = Config(
        run=RunConfig(device="cpu", num_threads=1),
        data=DataConfig(num_lanes=num_ranks),
        model=ModelConfig(backbone=backbone, norm="group"),
        optim=OptimConfig(global_batch=2 * PHOTOS * num_ranks, micro_batch=PHOTOS, optimizer=optimizer, bucket_mib=bucket_mib, **ENGINES[engine]),
    )
    world = build.build_world(config)
    try:
        build.prepare_process(config, world=world)
        state = build.build_state(config, world=world)
        num_parameters = sum(parameter.numel() for parameter in state.query.parameters())
        (folder / f"{rank}.json").write_text(json_text.dumps({**held_mib(state), "parameters": num_parameters}))
        world.barrier()
    finally:
        leave_world()


def measure(engine: str, *, num_ranks: int, backbone: str, optimizer: OptimizerKind, bucket_mib: float) -> list[Measurement]:
    """The rows of one engine, from `num_ranks` fresh processes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        common = (num_ranks, port, engine, backbone, optimizer, bucket_mib, folder)
        processes = [context.Process(target=on_rank, args=(rank, *common)) for rank in range(num_ranks)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(TIMEOUT_S)
            process.kill()
        ranks = [json_text.loads((folder / f"{rank}.json").read_text()) for rank in range(num_ranks)]
    shape = f"{backbone}, {ranks[0]['parameters'] / 1e6:.1f} M parameters, {optimizer}, {num_ranks} ranks, buckets of {bucket_mib:g} MiB"
    values = {kind: [rank[kind] for rank in ranks] for kind in KINDS}
    values["momentum + gradients"] = [rank["momentum"] + rank["gradients"] for rank in ranks]
    return [
        measurement(found, benchmark="zero_memory", provider=engine, mode="held", shape=shape, metric=metric, unit="MiB", device=torch.device("cpu"))
        for metric, found in values.items()
    ]


def main(
    ranks: Annotated[int, typer.Option(help="processes")] = 4,
    backbone: Annotated[str, typer.Option(help="resnet18, resnet50, efficientnet_lite0")] = "resnet50",
    optimizer: Annotated[OptimizerKind, typer.Option(help="The optimizer whose state is counted.")] = "sgd",
    bucket_mib: Annotated[float, typer.Option(help="gradients exchanged at a time")] = 4.0,
    json: Annotated[Path | None, typer.Option(help="write the rows here")] = None,
) -> None:
    """Momentum, gradients and master weights that each rank holds."""
    rows = [row for engine in ENGINES for row in measure(engine, num_ranks=ranks, backbone=backbone, optimizer=optimizer, bucket_mib=bucket_mib)]
    publish(rows, json_path=json)
    medians = {row.provider: row.median for row in rows if row.metric == "momentum + gradients"}
    for engine, value in medians.items():
        print(f"{engine}: momentum + gradients {100 * value / medians['DDP']:.1f} % of DDP's")


QUICK = ("--ranks", "2", "--backbone", "resnet18")

if __name__ == "__main__":
    run(main, quick=QUICK)
