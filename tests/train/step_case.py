"""A small training step for tests: settings, encoders, batches of noise and a state, the same on every call."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from mcdist.choices import BankDtype, CompileMode, DecoderKind, Implementation, Norm, OptimizerKind, Precision
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.bank import MemoryBank
from mcdist.model.decoder import make_decoder
from mcdist.model.encoder import Encoder
from mcdist.model.group_memory import GroupMemory
from mcdist.model.norms.convert import convert_norm
from mcdist.train.engines.ddp import EngineDDP
from mcdist.train.engines.optimizer import make_optimizer
from mcdist.train.group_table import GroupTable
from mcdist.train.state import TrainState
from mcdist.train.step import StepSettings
from mcdist.train.terms import Term, contrast_term, group_contrast_term, group_term, saliency_term


def make_settings(*, implementation: Implementation = "auto", **changes: Any) -> StepSettings:
    """The two terms at the paper's temperature, weighed alike, over small pictures."""
    contrast = partial(contrast_term, temperature=0.5, false_negative_cosine=1.0, implementation=implementation)
    settings = StepSettings(
        terms=(Term("contrast", 1.0, contrast), Term("saliency", 1.0, saliency_term)),
        max_objects=3,
        scope="global",
        momentum=0.99,
        momentum_buffers="own",
        pixels_per_object=0,
        seed=0,
        implementation=implementation,
    )
    return replace(settings, **changes)


SETTINGS = make_settings()

NUM_GROUPS = (3, 2)
"""Two sets of groups."""


def group_terms(*, implementation: Implementation = "auto") -> tuple[Term, Term]:
    """Both terms of groups."""
    contrast = partial(group_contrast_term, temperature=0.5, implementation=implementation)
    group = partial(group_term, balanced="inverse")
    return Term("group", 0.7, group, needs_keys=False, reads=("groups",)), Term("group_contrast", 0.3, contrast, reads=("features",))


GROUPED = make_settings(terms=(*SETTINGS.terms, *group_terms()))
"""All four terms."""


def make_table(*, num_samples: int = 16, num_groups: tuple[int, ...] = NUM_GROUPS, device: str = "cpu") -> GroupTable:
    """Random groups of up to three objects a photo, some of them without one."""
    random = torch.Generator(device=device).manual_seed(7)
    shape = (num_samples, 3)
    sets = [torch.randint(-1, num, shape, generator=random, dtype=torch.int16, device=device) for num in num_groups]
    group_of = torch.stack(sets, dim=2)
    return GroupTable(group_of, (group_of >= 0).float(), num_groups, "f" * 64)


ALONE = World(0, 1, torch.device("cpu"))


def make_encoder(decoder: DecoderKind = "linear", *, norm: Norm = "batch", num_groups: tuple[int, ...] = ()) -> Encoder:
    """Three stages of a ResNet-18 with random weights. `norm="group"`: what each photo becomes does not depend on the others of its batch."""
    torch.manual_seed(0)
    backbone = make_backbone("resnet18", num_stages=3)
    module, channels = make_decoder(decoder, num_channels=backbone.num_channels, width=16, atrous_rates=[1, 2], dropout=0.0)
    encoder = Encoder(backbone, decoder=module, decoder_channels=channels, embedding_dim=8, num_groups=num_groups)
    convert_norm(encoder, kind=norm)
    return encoder


def make_batch(size: int, *, device: str = "cpu", seed: int = 0) -> Batch:
    """`size` photos of noise, each with up to three objects."""
    torch.manual_seed(seed)
    instances = torch.randint(-1, 4, (2, size, 32, 32), dtype=torch.int16, device=device)
    images = torch.randn(2, size, 3, 32, 32, device=device)
    return Batch(images[0], images[1], instances[0], instances[1], torch.arange(size, device=device), 0, 0, 0)


def batch_of(tensors: Iterable[torch.Tensor]) -> Batch:
    """A batch of these query images, key images, query maps, key maps and indices, of which nothing was drawn again, emptied or dropped."""
    query_images, key_images, query_instances, key_instances, indices = tensors
    return Batch(
        query_images=query_images,
        key_images=key_images,
        query_instances=query_instances,
        key_instances=key_instances,
        indices=indices,
        num_redrawn=0,
        num_emptied=0,
        num_dropped_objects=0,
    )


def part_of(batch: Batch, places: slice) -> Batch:
    """The photos at these places of the batch."""
    return batch_of(tensor[places] for tensor in tensors_of(batch))


def tensors_of(batch: Batch) -> list[torch.Tensor]:
    """What `batch_of` takes."""
    return [batch.query_images, batch.key_images, batch.query_instances, batch.key_instances, batch.indices]


def named(name: str) -> Callable[[str], str]:
    """For `assert_close`: its message after the name of what differs."""
    return lambda text: f"{name}: {text}"


def make_state(
    *,
    world: World = ALONE,
    norm: Norm = "batch",
    optimizer: OptimizerKind = "sgd",
    precision: Precision = "fp32",
    clip_grad_norm: float = 0.0,
    compile_mode: CompileMode | None = None,
    bank_size: int = 16,
    bank_dtype: BankDtype = "fp32",
    num_groups: tuple[int, ...] = (),
) -> TrainState:
    """Query and key as `make_encoder` makes them, a small bank, and DDP's engine, at step 0; with groups their table and memory."""
    query = make_encoder(norm=norm, num_groups=num_groups)
    key = copy.deepcopy(query).requires_grad_(False)
    made = make_optimizer(optimizer, backbone=query.backbone, heads=query.heads, lr=0.1, backbone_lr_factor=1.0, sgd_momentum=0.9, weight_decay=0.0)
    engine = EngineDDP(query, key=key, optimizer=made, world=world, precision=precision, clip_grad_norm=clip_grad_norm, compile_mode=compile_mode)
    state = TrainState(query=query, key=key, bank=MemoryBank(bank_size, dim=8, dtype=bank_dtype), engine=engine)
    return with_groups(state, num_groups=num_groups) if num_groups else state


def with_groups(state: TrainState, *, num_groups: tuple[int, ...] = NUM_GROUPS) -> TrainState:
    """The state with a table and an empty memory."""
    state.table, state.memory = make_table(num_groups=num_groups), GroupMemory(num_groups, dim=8, momentum=0.9)
    return state
