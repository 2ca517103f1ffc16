"""A name that is none of a setting's choices is refused with the choices, also where no configuration was read.

The suite checks the types of every call, which would refuse the name first: so these call what is below that check.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import nn

from mcdist.errors import ConfigError
from mcdist.train.engines.base import EngineBase
from mcdist.train.engines.ddp import EngineDDP
from mcdist.train.engines.deepspeed_settings import deepspeed_settings
from mcdist.train.engines.exchange import register_exchange
from mcdist.train.engines.optimizer import make_optimizer
from mcdist.train.schedule import lr_at
from mcdist.train.step import StepSettings
from tests.makers.unchecked import make_unchecked, unchecked
from tests.train.step_case import ALONE, SETTINGS, make_encoder


def engine(kind: type[Any] = EngineDDP, **changes: Any) -> None:
    encoder = make_encoder()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    make_unchecked(kind, encoder, **{"key": encoder, "optimizer": optimizer, "world": ALONE, "clip_grad_norm": 0.0, **changes})


def step_settings(**changes: Any) -> None:
    make_unchecked(StepSettings, **{field.name: getattr(SETTINGS, field.name) for field in fields(SETTINGS)} | changes)


def optimizer(name: str) -> None:
    unchecked(make_optimizer)(name, backbone=nn.Linear(1, 1), heads=[], lr=0.1, backbone_lr_factor=1.0, sgd_momentum=0.9, weight_decay=0.0)


def deepspeed(name: str) -> None:
    unchecked(deepspeed_settings)(zero_stage=1, offload_optimizer=False, bucket_mib=1.0, gradient_exchange=name, micro_batch=1, pin_memory=False, raw={})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda name: step_settings(scope=name), "loss.scope must be one of global, rank, got 'odd'"),
        (lambda name: step_settings(momentum_buffers=name), "model.momentum_buffers must be one of own, copy, got 'odd'"),
        (
            lambda name: unchecked(lr_at)(0, num_steps=1, lr=1.0, schedule=name, warmup_steps=0),
            "optim.schedule must be one of poly, cosine, constant, got 'odd'",
        ),
        (optimizer, "optim.optimizer must be one of sgd, adamw, got 'odd'"),
        (lambda name: engine(EngineBase, precision=name), "optim.precision must be one of fp32, bf16, fp16, got 'odd'"),
        (lambda name: engine(precision="fp32", compile_mode=name), "optim.compile_mode must be one of default, reduce-overhead, max-autotune, got 'odd'"),
        (
            lambda name: engine(precision="fp32", compile_mode=None, gradient_exchange=name),
            "optim.gradient_exchange must be one of auto, allreduce, bf16, powersgd, ordered, got 'odd'",
        ),
        (
            lambda name: unchecked(register_exchange)(None, name=name),
            "optim.gradient_exchange must be one of auto, allreduce, bf16, powersgd, ordered, got 'odd'",
        ),
        (deepspeed, "optim.gradient_exchange must be one of auto, allreduce, bf16, powersgd, ordered, got 'odd'"),
    ],
    ids=["scope", "momentum_buffers", "schedule", "optimizer", "precision", "compile_mode", "gradient_exchange", "register_exchange", "deepspeed_settings"],
)
def test_an_unknown_name_is_refused_with_the_choices(call: Callable[[str], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call("odd")


@pytest.mark.parametrize(("deterministic", "hooks"), [(True, ["ordered"]), (False, [])])
def test_auto_is_the_ordered_exchange_where_a_run_is_deterministic(deterministic: bool, hooks: list[str]) -> None:
    class Wrapper:
        registered: list[str] = []  # noqa: RUF012

        def register_comm_hook(self, state: object, hook: Callable[..., Any]) -> None:
            self.registered = [*self.registered, hook.__name__]

    wrapper = Wrapper()
    torch.use_deterministic_algorithms(deterministic)
    try:
        unchecked(register_exchange)(wrapper, name="auto")
    finally:
        torch.use_deterministic_algorithms(False)
    assert wrapper.registered == hooks
