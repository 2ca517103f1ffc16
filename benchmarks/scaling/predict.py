"""What would training reach on 8 to 4,096 GPUs with a million to a billion photos, and what saturates first? Predicted, not measured.

    python -m benchmarks.scaling.predict
    python -m benchmarks.scaling.predict --gpu a100 --pixels-per-object 0 --json predicted.json

The model is model.py's, which scaling.py compares with measurements on this machine. Operations, parameters and activations are
counted exactly (encoder_costs.py). What a GPU, a network, a disk and a cluster's failures are like is assumed, and printed with the result:
nothing here has run on a GPU.
"""

import json as json_format
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.command import run
from benchmarks.scaling.encoder_costs import EncoderCosts, encoder_costs
from benchmarks.scaling.failures import daly_interval_s, goodput, mean_time_between_failures_s
from benchmarks.scaling.model import Step, Work, prototypes_bytes, step_of
from benchmarks.scaling.network import Level, Network, all_gather_s, all_reduce_s
from mcdist.config import Config, OptimConfig, ViewsConfig
from mcdist.errors import ConfigError
from mcdist.run_dir import write_atomically

GIB = 2**30
FOREGROUND = 0.38
"""Share of the pixels that take part in the contrast, as in benchmarks/loss/contrast.py."""
PAIR_FLOPS = 46.0
"""Of a pixel and a candidate in the fused loss: 15 multiply-adds and two exponentials at 8 (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Data sheet, and what share of it we expect to reach. Links are one GPU's, one direction."""

    matrix_flops: float
    vector_flops: float
    memory_gib: float
    network: Network
    matrix_share: float = 0.30
    vector_share: float = 0.25


GPUS = {
    "h100": Gpu(989e12, 67e12, 80, Network(Level(3e-6, 1 / 450e9), Level(1e-5, 1 / 50e9), 8)),
    "a100": Gpu(312e12, 19.5e12, 80, Network(Level(3e-6, 1 / 300e9), Level(1e-5, 1 / 25e9), 8)),
}


@dataclass(frozen=True, slots=True)
class Site:
    """What a cluster is like around its GPUs."""

    gpu_mtbf_h: float = 50_700.0
    """Of one GPU with its part of the node: 419 unexpected interruptions in 54 days on 16,384 GPUs (Llama 3, arXiv:2407.21783, section 3.3.4)."""
    host_copy_bytes_per_s: float = 20e9
    """Device to host: training waits for this part of a save, the disk is written beside it."""
    restart_s: float = 180.0
    """From a failure to the next step: notice it, requeue, import, meet, load."""
    loader_cores: int = 12
    photos_per_core_s: float = 513.0
    """Two views of 224 px from tars (benchmarks/loader/results/data_pipeline.json: `mcdist`, one core)."""
    metadata_operations_per_s: float = 20_000.0
    """What a parallel file system's metadata server answers."""
    import_operations: int = 47_000
    """Files looked up and opened by `import mcdist.run`, counted with `strace -c -e trace=openat,newfstatat`; the first process of a node asks the server."""
    photo_bytes: float = 110e3


@dataclass(frozen=True, slots=True)
class Prediction:
    """One number of GPUs."""

    num_gpus: int
    step: Step
    images_per_s: float
    efficiency_percent: float
    memory_gib: float
    mtbf_h: float
    checkpoint_interval_s: float
    goodput_percent: float
    prototypes_mib: float
    epoch_of_a_million_s: float


def compute_s(costs: EncoderCosts, *, gpu: Gpu, local_batch: int) -> tuple[float, float]:
    """(encoders, of which backward): the key runs forward, the query forward and, at twice that, backward."""
    forward = local_batch * costs.forward_flops / (gpu.matrix_flops * gpu.matrix_share)
    return 4 * forward, 2 * forward


def loss_s(*, gpu: Gpu, local_batch: int, candidates: int, size_px: int, objects: int, pixels_per_object: int) -> float:
    """Every pixel that takes part against every candidate."""
    pixels = local_batch * (objects * pixels_per_object if pixels_per_object else FOREGROUND * size_px**2)
    return pixels * candidates * PAIR_FLOPS / (gpu.vector_flops * gpu.vector_share)


def memory_bytes(costs: EncoderCosts, *, config: Config, local_batch: int, num_gpus: int, activation_share: float) -> float:
    """Query, key, gradients and momentum in float32, activations in 16 bits, images, bank and everyone's prototypes with their packed copies."""
    rows = num_gpus * local_batch * config.views.max_objects
    states = 4 * (2 * costs.num_parameters + 2 * costs.num_trainable)
    images = 2 * local_batch * 3 * config.views.size_px**2 * 4
    return states + activation_share * local_batch * costs.saved_bytes + images + 4 * config.model.embedding_dim * (config.model.bank_size + 2 * rows)


def predict(config: Config, *, gpu: Gpu, site: Site, local_batch: int, gpus: list[int]) -> list[Prediction]:
    """Weak scaling: so many photos a GPU."""
    costs, objects, size = encoder_costs(config), config.views.max_objects, config.views.size_px
    encoders, backward = compute_s(costs, gpu=gpu, local_batch=local_batch)
    work = Work(encoders, backward, 4.0 * costs.num_trainable, local_batch * objects, config.model.embedding_dim)
    bucket_share = min(1.0, config.optim.bucket_mib * 2**20 / work.gradients_bytes)
    state_bytes = 4.0 * (2 * costs.num_parameters + costs.num_trainable)
    found: list[Prediction] = []
    for num_gpus in [1, *gpus]:
        step = step_of(
            work,
            num_ranks=num_gpus,
            loss_s=loss_s(
                gpu=gpu,
                local_batch=local_batch,
                candidates=num_gpus * work.prototypes + config.model.bank_size,
                size_px=size,
                objects=objects,
                pixels_per_object=config.loss.pixels_per_object,
            ),
            overlap=1 - bucket_share,  # the last bucket is full when the backward pass ends
            all_reduce_s=partial(all_reduce_s, num_ranks=num_gpus, network=gpu.network),
            all_gather_s=partial(all_gather_s, num_ranks=num_gpus, network=gpu.network),
        )
        images_per_s = num_gpus * local_batch / step.total_s
        mtbf_s = mean_time_between_failures_s(part_mtbf_s=3600 * site.gpu_mtbf_h, num_parts=num_gpus)
        save_s = state_bytes / site.host_copy_bytes_per_s
        interval_s = daly_interval_s(save_s=save_s, mtbf_s=mtbf_s)
        found.append(
            Prediction(
                num_gpus=num_gpus,
                step=step,
                images_per_s=images_per_s,
                efficiency_percent=100 * images_per_s / (num_gpus * (found[0].images_per_s if found else images_per_s)),
                memory_gib=memory_bytes(costs, config=config, local_batch=local_batch, num_gpus=num_gpus, activation_share=0.5) / GIB,
                mtbf_h=mtbf_s / 3600,
                checkpoint_interval_s=interval_s,
                goodput_percent=100 * goodput(interval_s=interval_s, save_s=save_s, restart_s=site.restart_s, mtbf_s=mtbf_s),
                prototypes_mib=prototypes_bytes(work, num_ranks=num_gpus) / 2**20,
                epoch_of_a_million_s=1e6 / images_per_s,
            )
        )
    return found


def data_rows(config: Config, *, site: Site, predictions: list[Prediction], photos: list[int], shard_size: int, gpus_per_node: int) -> list[dict[str, float]]:
    """For each number of photos and GPUs: an epoch, the shards, and what the file system sees."""
    rows = []
    for num_photos in photos:
        for found in predictions[1:]:
            wanted = found.images_per_s
            rows.append(
                {
                    "photos": num_photos,
                    "gpus": found.num_gpus,
                    "epoch_h": num_photos / wanted / 3600,
                    "steps_an_epoch": num_photos / (wanted * found.step.total_s),
                    "shards": math.ceil(num_photos / shard_size),
                    "shards_a_rank": num_photos / shard_size / found.num_gpus,
                    "order_mib": 8 * num_photos / config.data.block / 2**20,
                    "read_gb_per_s": wanted * site.photo_bytes / 1e9,
                    "opens_per_s": wanted / shard_size,
                    "loader_load_percent": 100 * wanted / found.num_gpus / (site.loader_cores * site.photos_per_core_s),
                    "import_storm_s": math.ceil(found.num_gpus / gpus_per_node) * site.import_operations / site.metadata_operations_per_s,
                }
            )
    return rows


def print_predictions(predictions: list[Prediction]) -> None:
    """One line a number of GPUs."""
    print("  GPUs  images/s   eff. %   step ms  encoders  loss  gather  small  grad. exposed  memory GiB  MTBF h  save every s  goodput %")
    for found in predictions:
        step = found.step
        times = "  ".join(f"{1000 * seconds:7.2f}" for seconds in (step.compute_s, step.loss_s, step.gather_s, step.small_s, step.exposed_s))
        print(
            f"{found.num_gpus:6,d}  {found.images_per_s:9,.0f}  {found.efficiency_percent:6.1f}  {1000 * step.total_s:8.1f}  {times}  "
            f"{found.memory_gib:6.1f}  {found.mtbf_h:8.1f}  {found.checkpoint_interval_s:8.0f}  {found.goodput_percent:6.2f}"
        )


def print_data(rows: list[dict[str, float]]) -> None:
    """One line a number of photos and GPUs."""
    print("       photos   GPUs   epoch h  steps/epoch    shards  shards/rank  order MiB  read GB/s  opens/s  loader %  imports s")
    for row in rows:
        print(
            f"{row['photos']:13,.0f}  {row['gpus']:5,.0f}  {row['epoch_h']:8.3f}  {row['steps_an_epoch']:11,.0f}  {row['shards']:8,.0f}  "
            f"{row['shards_a_rank']:11,.1f}  {row['order_mib']:9,.1f}  {row['read_gb_per_s']:9,.1f}  {row['opens_per_s']:7,.0f}  "
            f"{row['loader_load_percent']:8.1f}  {row['import_storm_s']:9,.0f}"
        )


def main(
    gpu: Annotated[str, typer.Option(help=f"One of {', '.join(GPUS)}.")] = "h100",
    local_batch: Annotated[int, typer.Option(min=1, help="Photos a GPU and step.")] = 64,
    max_objects: Annotated[int, typer.Option(min=1, help="Objects a photo.")] = 1,
    pixels_per_object: Annotated[int, typer.Option(min=0, help="Of each object in the contrast; 0: all.")] = 256,
    gpus: Annotated[list[int] | None, typer.Option(min=1, help="Numbers of GPUs; 8, 64, 512, 4096 where none is given.")] = None,
    photos: Annotated[list[int] | None, typer.Option(min=1, help="Numbers of photos; 10^6 to 10^9 where none is given.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Photos a shard.")] = 1_000,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
) -> None:
    """Predicted images a second, efficiency, memory, checkpoint interval and goodput: ResNet-50 + DeepLabv3 at 224 px, as in the paper."""
    if gpu not in GPUS:
        raise ConfigError(f"--gpu wants one of {', '.join(GPUS)}, got {gpu!r}")
    config = Config(views=ViewsConfig(max_objects=max_objects), optim=OptimConfig(precision="bf16"))
    config = replace(config, loss=replace(config.loss, pixels_per_object=pixels_per_object))
    site = Site()
    predictions = predict(config, gpu=GPUS[gpu], site=site, local_batch=local_batch, gpus=gpus or [8, 64, 512, 4096])
    sizes = photos or [10**6, 10**7, 10**8, 10**9]
    rows = data_rows(config, site=site, predictions=predictions, photos=sizes, shard_size=shard_size, gpus_per_node=GPUS[gpu].network.gpus_per_node)
    print(f"predicted: {gpu}, {local_batch} photos a GPU, {max_objects} objects a photo, {pixels_per_object or 'all'} pixels an object, bf16")
    print_predictions(predictions)
    print()
    print_data(rows)
    print(f"\nassumed: {asdict(GPUS[gpu])}\n         {asdict(site)}\ncounted: {asdict(encoder_costs(config))}")
    if json is not None:
        everything: dict[str, Any] = {"gpu": asdict(GPUS[gpu]), "site": asdict(site), "predictions": [asdict(found) for found in predictions], "data": rows}
        write_atomically(json, json_format.dumps(everything, indent=1).encode() + b"\n")


QUICK = ()

if __name__ == "__main__":
    run(main, quick=QUICK)
