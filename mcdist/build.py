"""Build: configuration -> objects. The only place that unpacks configuration; everything below takes plain values."""

import copy
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.optim import Optimizer
from torch.utils.data import Dataset

from mcdist.config import Config, ModelConfig
from mcdist.config.classes import find_classes
from mcdist.data import loader
from mcdist.data.batch import Batch
from mcdist.data.division import num_micro_batches
from mcdist.data.files.cached import CachedFiles, stage
from mcdist.data.loader import BatchLoader, make_loader
from mcdist.data.order import WINDOW_BLOCKS
from mcdist.data.readers.reader import SampleReader
from mcdist.data.views.draw import ViewSettings
from mcdist.disk.checkpoint import find_checkpoint
from mcdist.distributed import World
from mcdist.errors import ConfigError
from mcdist.evaluate.settings import ExtractSettings, JudgeSettings, Kept
from mcdist.groups.settings import GroupSettings
from mcdist.machine.allocator import keep_freed_memory
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.debias import add_debias
from mcdist.model.backbones.freeze import freeze_before
from mcdist.model.backbones.lora import add_lora
from mcdist.model.backbones.random_weights import calibrate_norms
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.bank import MemoryBank
from mcdist.model.decoder import make_decoder
from mcdist.model.encoder import Encoder
from mcdist.model.group_memory import GroupMemory
from mcdist.model.norms.convert import convert_norm
from mcdist.model.norms.sync import SumOverRanks
from mcdist.ranks.join import join_world
from mcdist.reading import open_reader as open_reader
from mcdist.train.engines.ddp import EngineDDP
from mcdist.train.engines.deepspeed import EngineDeepSpeed
from mcdist.train.engines.deepspeed_settings import deepspeed_settings
from mcdist.train.engines.engine import Engine
from mcdist.train.engines.optimizer import make_optimizer
from mcdist.train.group_table import GroupTable, read_group_table
from mcdist.train.loop import LoopSettings
from mcdist.train.state import TrainState, start_module
from mcdist.train.step import StepSettings
from mcdist.train.terms import Term, contrast_term, group_contrast_term, group_term, saliency_term
from mcdist.zoom.settings import ZoomSettings

ZOOM_BATCH = {"cpu": 32, "cuda": 256}
"""Zoomed pictures at a time: beyond these, neither device is faster."""


def build_world(config: Config) -> World:
    """Join the ranks of this run."""
    run = config.run
    return join_world(
        device=run.device,
        timeout_s=run.rendezvous_timeout_s,
        collective_timeout_s=run.collective_timeout_s,
        network_interface=run.network_interface,
    )


def prepare_process(config: Config, *, world: World) -> None:
    """Memory, seeds, threads and determinism of this process; the seed is the same on all ranks, so that all start from the same weights."""
    keep_freed_memory(config.run.allocator)
    random.seed(config.run.seed)
    numpy.random.seed(config.run.seed % 2**32)
    torch.manual_seed(config.run.seed)
    torch.set_num_threads(config.run.num_threads or world.num_cores)
    if config.run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
    elif world.device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def prepare_workers(config: Config) -> None:
    """Let the data workers' imports run beside the building of the model."""
    if config.data.num_workers:
        loader.prepare_workers()


def build_encoder(model: ModelConfig, *, num_groups: Sequence[int] = (), pretrained: bool = True, sum_over_ranks: SumOverRanks | None = None) -> Encoder:
    """The encoder as it starts. `pretrained=False` leaves out reading `model.weights`, for an encoder that is loaded from a checkpoint.

    `num_groups`: of each set that its group head tells apart; none without that head. `sum_over_ranks` is for norm layers that span the ranks
    (model.norm=sync), while training.
    """
    weights = model.weights if pretrained else "none"
    backbone = make_backbone(model.backbone, weights=weights, num_stages=model.num_stages, statistics=model.pixel_statistics)
    backbone.set_final_norm(model.final_norm)
    backbone.join_levels(model.levels)
    decoder, channels = make_decoder(
        model.decoder, num_channels=backbone.num_channels, width=model.decoder_width, atrous_rates=list(model.atrous_rates), dropout=model.dropout
    )
    encoder = Encoder(
        backbone,
        decoder=decoder,
        decoder_channels=channels,
        embedding_dim=model.embedding_dim,
        embedding_bias=model.embedding_bias,
        embedding_from=model.embedding_from,
        num_groups=num_groups,
    )
    convert_norm(encoder, kind=model.norm, sum_over_ranks=sum_over_ranks)
    first_trained = freeze_before(encoder.backbone, trainable_from=model.trainable_from)
    if model.lora_rank:
        add_lora(encoder.backbone, rank=model.lora_rank, alpha=model.lora_alpha, first_block=first_trained)
    check_debias(encoder.backbone, model=model)
    add_debias(encoder.backbone, kind=model.position_debias, fit=pretrained)
    encoder.set_recompute(model.recompute)
    return encoder.to(memory_format=torch.channels_last)


def check_debias(backbone: Backbone, *, model: ModelConfig) -> None:
    """Raise ConfigError where positions are to be taken from the features of a backbone that trains: they would change."""
    if model.position_debias != "none" and any(parameter.requires_grad for parameter in backbone.parameters()):
        raise ConfigError(
            f"model.position_debias={model.position_debias} is measured once, so the backbone must not train: model.trainable_from must be "
            f"{len(backbone.blocks())}, the blocks of model.backbone={model.backbone} that are used, got {model.trainable_from}"
        )


def check_size(setting: str, size_px: int, *, encoder: Encoder, backbone: str) -> None:
    """Raise ConfigError unless the size is a multiple of the backbone's stride."""
    stride = encoder.backbone.stride
    if size_px % stride:
        below = size_px - size_px % stride
        near = f"{below} or {below + stride}" if below else f"{stride}"
        raise ConfigError(f"{setting} must be a multiple of {stride}, the stride of model.backbone={backbone}, got {size_px}; use {near}")


def check_frozen(encoder: Encoder, *, model: ModelConfig, cached: int) -> None:
    """Raise ConfigError where views are to be cached and a part of the backbone trains: their features would change."""
    if cached and any(parameter.requires_grad for parameter in encoder.backbone.parameters()):
        num_blocks = len(encoder.backbone.blocks())
        raise ConfigError(
            f"views.cached={cached} needs a backbone that does not train: model.trainable_from must be {num_blocks}, the blocks of "
            f"model.backbone={model.backbone} that are used, got {model.trainable_from}"
        )


def build_state(config: Config, *, world: World) -> TrainState:
    """Query and key encoder, bank, optimizer and engine, at step 0."""
    sum_over_ranks = world.sum_apart() if config.model.norm == "sync" else None
    query = build_encoder(config.model, num_groups=head_groups(config), sum_over_ranks=sum_over_ranks)
    for setting, size_px in (("views.size_px", config.views.size_px), ("evaluate.size_px", config.evaluate.size_px)):
        check_size(setting, size_px, encoder=query, backbone=config.model.backbone)
    check_frozen(query, model=config.model, cached=config.views.cached)
    query.takes_features = config.views.cached > 0
    notes = start_from(query, config.checkpoint.init_from) if config.checkpoint.init_from else ()
    query.freeze_unread(name for term in loss_terms(config) for name in term.reads)
    query = query.to(world.device)
    key = copy.deepcopy(query).requires_grad_(False)
    bank = MemoryBank(config.model.bank_size, dim=config.model.embedding_dim, dtype=config.model.bank_dtype).to(world.device)
    optim = config.optim
    optimizer = make_optimizer(
        optim.optimizer,
        backbone=query.backbone,
        heads=query.heads,
        lr=optim.lr,
        backbone_lr_factor=optim.backbone_lr_factor,
        blocks=query.backbone.blocks(),
        layer_decay=optim.layer_decay,
        sgd_momentum=optim.sgd_momentum,
        weight_decay=optim.weight_decay,
    )
    engine = build_engine(config, query, key=key, optimizer=optimizer, world=world)
    return TrainState(query=query, key=key, bank=bank, engine=engine, memory=build_group_memory(config, world=world), notes=notes)


def head_groups(config: Config) -> list[int]:
    """The sets that the encoder's group head tells apart; none where the head's term has no weight."""
    return config.groups.num_groups if config.loss.group_weight else []


def build_group_memory(config: Config, *, world: World) -> GroupMemory | None:
    """The prototypes of groups; None where no term asks for them."""
    if not config.loss.group_contrast_weight:
        return None
    groups = config.groups
    return GroupMemory(groups.num_groups, dim=config.model.embedding_dim, momentum=groups.prototype_momentum).to(world.device)


def start_from(query: Encoder, path: str) -> tuple[str, ...]:
    """Give the encoder the weights of a run or checkpoint. Returns what is to be told: a group head that the checkpoint lacks stays as it starts.

    Raises:
        CheckpointError: it is of another encoder.
    """
    left = start_module(query, find_checkpoint(Path(path)).tensors, prefix="query/", optional=("groups",))
    return (f"checkpoint.init_from={path} has no head for these groups; it starts anew",) if left else ()


def read_groups(folder: Path, config: Config, *, samples: str, num_samples: int) -> GroupTable:
    """The groups in `folder`, of the training photos' objects. `samples`: digest of the training samples.

    Raises:
        ConfigError, DataError: as `mcdist.train.group_table.read_group_table`.
    """
    return read_group_table(
        folder,
        num_groups=tuple(config.groups.num_groups),
        samples=samples,
        num_samples=num_samples,
        max_objects=config.views.max_objects,
        confidence_min=config.groups.confidence_min,
    )


def group_settings(config: Config) -> GroupSettings:
    """What the configuration says about the graph, under its own names; the seed is the run's."""
    named = ((name, getattr(config.run if name == "seed" else config.groups, name)) for name in GroupSettings.__dataclass_fields__)
    settings: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in named}
    return GroupSettings(**settings)


def build_engine(config: Config, query: Encoder, *, key: Encoder, optimizer: Optimizer, world: World) -> Engine:
    """The engine that `optim.engine` names; nobody else knows which it is."""
    optim = config.optim
    if optim.engine == "deepspeed":
        settings = deepspeed_settings(
            zero_stage=optim.zero_stage,
            offload_optimizer=optim.offload_optimizer,
            bucket_mib=optim.bucket_mib,
            gradient_exchange=optim.gradient_exchange,
            micro_batch=optim.global_batch // world.num_ranks // accumulation_steps(config, num_ranks=world.num_ranks),
            pin_memory=world.device.type == "cuda",
            raw=config.deepspeed,
        )
        return EngineDeepSpeed(
            query, key=key, optimizer=optimizer, world=world, precision=optim.precision, clip_grad_norm=optim.clip_grad_norm, settings=settings
        )
    return EngineDDP(
        query,
        key=key,
        optimizer=optimizer,
        world=world,
        precision=optim.precision,
        clip_grad_norm=optim.clip_grad_norm,
        compile_mode=optim.compile_mode if optim.compile else None,
        bucket_mib=optim.bucket_mib,
        gradient_exchange=optim.gradient_exchange,
    )


def build_batches(config: Config, reader: SampleReader, *, world: World, consumed: int, num_steps: int, cached: Dataset[Batch] | None = None) -> BatchLoader:
    """This rank's micro-batches of the rest of the run, from the shards or from views that were `cached`.

    Cached ones are copied, which costs a CPU that trains less here than a worker's hand-over would; beside a GPU the workers' cores are free.
    """
    return make_loader(
        reader,
        views=view_settings(config),
        seed=config.run.seed,
        global_batch=config.optim.global_batch,
        accumulation_steps=accumulation_steps(config, num_ranks=world.num_ranks),
        rank=world.rank,
        num_ranks=world.num_ranks,
        block=config.data.block,
        num_lanes=config.data.num_lanes,
        consumed=consumed,
        num_steps=num_steps,
        num_workers=config.data.num_workers if cached is None or world.device.type == "cuda" else 0,
        prefetch=config.data.prefetch,
        pin_memory=world.device.type == "cuda",
        decode=config.data.decode,
        bad_samples=config.data.bad_samples,
        made_before=cached,
    )


def view_settings(config: Config) -> ViewSettings:
    """The views' settings, which have the configuration's own names."""
    return ViewSettings(**{name: getattr(config.views, name) for name in ViewSettings.__dataclass_fields__})


def extract_settings(config: Config, *, kept: Kept, with_truth: bool) -> ExtractSettings:
    """How photos become object vectors, and what is kept beside these."""
    evaluate = config.evaluate
    return ExtractSettings(
        size_px=evaluate.size_px,
        batch=evaluate.batch,
        objects=evaluate.objects,
        predicted_by=evaluate.predicted_by,
        component_area_min=evaluate.component_area_min,
        patches=kept.patches,
        decoded=kept.decoded,
        with_truth=with_truth,
        crf_alpha=evaluate.crf_alpha,
        label_maps=kept.label_maps and with_truth,
        input=evaluate.input,
        mirrored=kept.mirrored,
        random_weights=evaluate.random_weights,
    )


def zoom_settings(config: Config, *, device: torch.device) -> ZoomSettings:
    """How objects are zoomed; the batch fits the device."""
    groups = config.groups
    return ZoomSettings(
        size_px=groups.zoom_px,
        margin=groups.zoom_margin,
        background=groups.zoom_background,
        num_views=groups.zoom_views,
        max_objects=config.views.max_objects,
        batch=ZOOM_BATCH[device.type],
    )


def build_zoom_backbone(config: Config, *, device: torch.device) -> Backbone:
    """The whole backbone that the run starts from, undilated, whatever `model.num_stages`; in evaluation mode.

    Random weights are those of `run.seed`, the same at every start, and take nothing from the run's own random numbers.

    Raises:
        ConfigError: `groups.zoom_px` is no multiple of its stride.
    """
    model, size_px = config.model, config.groups.zoom_px
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        backbone = make_backbone(model.backbone, weights=model.weights, dilated=False, statistics=model.pixel_statistics)
    if size_px % backbone.stride:
        raise ConfigError(f"groups.zoom_px must be a multiple of {backbone.stride}, the stride of {model.backbone} for zoomed objects, got {size_px}")
    return backbone.eval().to(device).to(memory_format=torch.channels_last)


def build_random_backbone(config: Config, *, device: torch.device) -> Backbone:
    """The run's backbone with random weights of `run.seed`, in evaluation mode. It takes nothing from the run's own random numbers."""
    model = replace(config.model, weights="none", lora_rank=0, position_debias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        backbone = build_encoder(model, pretrained=False).backbone
    calibrate_norms(backbone, seed=config.run.seed)
    return backbone.eval().to(device)


def judge_settings(config: Config) -> JudgeSettings:
    """What the configuration says about protocols, under its own names."""
    evaluate = config.evaluate
    return JudgeSettings(
        pca_dim=evaluate.pca_dim,
        mean_embedding_pca_dim=evaluate.mean_embedding_pca_dim,
        num_clusters=evaluate.cluster_numbers,
        num_seeds=evaluate.num_seeds,
        kmeans=evaluate.kmeans,
        memory_size=evaluate.memory_size,
        retrieval_classes=tuple(find_classes("voc7", key="evaluate.classes").ids)[1:],
    )


def loss_terms(config: Config) -> tuple[Term, ...]:
    """The summands of the loss that have a weight."""
    loss, implementation = config.loss, config.ops.implementation
    contrast = partial(contrast_term, temperature=loss.temperature, false_negative_cosine=loss.false_negative_cosine, implementation=implementation)
    group = partial(group_term, balanced=loss.group_balance)
    group_contrast = partial(group_contrast_term, temperature=loss.temperature, implementation=implementation)
    terms = (
        Term("contrast", loss.contrast_weight, contrast, reads=("features",)),
        Term("saliency", loss.saliency_weight, saliency_term, needs_keys=False, reads=("saliency",)),
        Term("group", loss.group_weight, group, needs_keys=False, reads=("groups",)),
        Term("group_contrast", loss.group_contrast_weight, group_contrast, reads=("features",)),
    )
    return tuple(term for term in terms if term.weight)


def step_settings(config: Config) -> StepSettings:
    """The science of a step."""
    return StepSettings(
        terms=loss_terms(config),
        max_objects=config.views.max_objects,
        scope=config.loss.scope,
        momentum=config.model.momentum,
        momentum_buffers=config.model.momentum_buffers,
        pixels_per_object=config.loss.pixels_per_object,
        seed=config.run.seed,
        implementation=config.ops.implementation,
        shuffle_keys=config.model.norm == "shuffled",
    )


def accumulation_steps(config: Config, *, num_ranks: int) -> int:
    """Micro-batches a step of this many ranks. Raises ConfigError where the batch does not come out even."""
    optim = config.optim
    return num_micro_batches(
        global_batch=optim.global_batch,
        micro_batch=optim.micro_batch,
        accumulation_steps=optim.accumulation_steps,
        num_lanes=config.data.num_lanes,
        num_ranks=num_ranks,
    )


def loop_settings(config: Config, *, num_samples: int, num_ranks: int = 1) -> LoopSettings:
    """How long and how often. The last step runs a little into the epoch after the last, so that every sample has had its turns."""
    optim = config.optim
    return LoopSettings(
        num_steps=-(-optim.epochs * num_samples // optim.global_batch),
        num_samples=num_samples,
        global_batch=optim.global_batch,
        accumulation_steps=accumulation_steps(config, num_ranks=num_ranks),
        lr=optim.lr,
        schedule=optim.schedule,
        warmup_steps=optim.warmup_steps,
        log_every_steps=config.report.log_every_steps,
        max_nonfinite=optim.max_nonfinite,
        max_bad_share=config.data.bad_samples_max_share,
    )


def cache_warning(config: Config, reader: SampleReader) -> str:
    """What to say where the cache holds less than two windows of all lanes, so that shards may be fetched again and again; empty where it suffices."""
    if not isinstance(reader.files, CachedFiles) or reader.files.cache.max_bytes is None:
        return ""
    shards = reader.manifest.shards
    num_wanted = min(len(shards), 2 * config.data.num_lanes * (WINDOW_BLOCKS + 1))
    wanted_bytes = num_wanted * max(shard.num_bytes for shard in shards)
    if wanted_bytes <= reader.files.cache.max_bytes:
        return ""
    return (
        f"data.cache_gib={config.data.cache_gib:g} is less than the {wanted_bytes / 2**30:.3g} GiB of the {num_wanted} shards "
        f"that {config.data.num_lanes} lanes read at a time: shards may be fetched several times an epoch; raise it, lower data.num_lanes, or build "
        "smaller shards"
    )


def stage_shards(config: Config, reader: SampleReader, *, world: World) -> str:
    """Fetch every shard into `data.stage_to`, where it is set: each rank of a node its share of them. Returns what was done, in words; empty for nothing."""
    if not config.data.stage_to:
        return ""
    began_s = time.monotonic()
    assert isinstance(reader.files, CachedFiles)
    stage(reader.files, manifest=reader.manifest, part=world.local_rank, num_parts=world.ranks_here)
    kept, num_bytes = reader.files.cache.folder, reader.manifest.num_bytes
    return f"staged {len(reader.manifest.shards)} shards, {num_bytes / 2**30:.3g} GiB, in {kept}: {time.monotonic() - began_s:.1f} s"
