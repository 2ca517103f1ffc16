"""A small training step under either engine, for tests: the same weights and photos whatever the engine and the number of ranks."""

import copy
from typing import Any

import torch

from mcdist.choices import GradientExchange, Norm, OptimizerKind
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.model.bank import MemoryBank
from mcdist.train.engines.ddp import EngineDDP
from mcdist.train.engines.deepspeed import EngineDeepSpeed
from mcdist.train.engines.deepspeed_settings import deepspeed_settings
from mcdist.train.engines.engine import Engine
from mcdist.train.engines.optimizer import make_optimizer
from mcdist.train.state import TrainState
from mcdist.train.step import StepSettings, train_step
from tests.train.step_case import SETTINGS, batch_of, make_batch, make_encoder, part_of, tensors_of, with_groups

GLOBAL_BATCH = 8


def make_state(
    engine: str,
    *,
    world: World,
    optimizer: OptimizerKind = "sgd",
    precision: str = "fp32",
    clip_grad_norm: float = 0.0,
    gradient_exchange: GradientExchange = "allreduce",
    bucket_mib: float = 0.25,
    offload_optimizer: bool = False,
    norm: Norm = "group",
    num_groups: tuple[int, ...] = (),
) -> TrainState:
    """`engine`: "ddp", or "zero_0", "zero_1", "zero_2". Backbone and heads are two groups with learning rates of their own.

    The norm sees no batch unless told otherwise, so that the number of ranks changes nothing.
    """
    query = make_encoder(norm=norm, num_groups=num_groups)
    key = copy.deepcopy(query).requires_grad_(False)
    made = make_optimizer(optimizer, backbone=query.backbone, heads=query.heads, lr=0.1, backbone_lr_factor=0.5, sgd_momentum=0.9, weight_decay=1e-4)
    common: dict[str, Any] = {"key": key, "optimizer": made, "world": world, "precision": precision, "clip_grad_norm": clip_grad_norm}
    chosen: Engine
    if engine == "ddp":
        chosen = EngineDDP(query, **common, compile_mode=None, bucket_mib=bucket_mib, gradient_exchange=gradient_exchange)
    else:
        settings = deepspeed_settings(
            zero_stage=int(engine.removeprefix("zero_")),
            offload_optimizer=offload_optimizer,
            bucket_mib=bucket_mib,
            gradient_exchange=gradient_exchange,
            micro_batch=1,
            pin_memory=False,
            raw={},
        )
        chosen = EngineDeepSpeed(query, **common, settings=settings)
    state = TrainState(query=query, key=key, bank=MemoryBank(16, dim=8), engine=chosen)
    return with_groups(state, num_groups=num_groups) if num_groups else state


def micro_batches(seed: int, *, world: World, accumulation_steps: int, batch: Batch | None = None) -> list[Batch]:
    """This rank's share of a global batch, cut into equal parts."""
    whole = make_batch(GLOBAL_BATCH, seed=seed) if batch is None else batch
    own = tensors_of(part_of(whole, slice(world.rank, None, world.num_ranks)))
    return [batch_of(tensors) for tensors in zip(*(tensor.chunk(accumulation_steps) for tensor in own), strict=True)]


def take_steps(state: TrainState, *, seeds: range, accumulation_steps: int = 1, lr: float = 0.02, settings: StepSettings = SETTINGS) -> list[dict[str, float]]:
    """Losses (whole, over all ranks), gradient norm and whether the step was skipped, of each step."""
    curve = []
    for seed in seeds:
        parts = micro_batches(seed, world=state.engine.world, accumulation_steps=accumulation_steps)
        result = train_step(state, parts, lr=lr, settings=settings)
        state.step += 1
        losses = state.engine.world.sum(torch.stack(list(result.terms.values()))).tolist()
        curve.append({**dict(zip(result.terms, losses, strict=True)), "grad_norm": float(result.grad_norm), "skipped": float(result.skipped)})
    return curve
