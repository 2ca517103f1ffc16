from typing import Any

import pytest
import torch
from torch import nn

from mcdist.choices import OptimizerKind
from mcdist.errors import CheckpointError
from mcdist.train.engines.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors, set_lr, step_where_finite


def _make(name: OptimizerKind = "sgd") -> tuple[nn.ModuleDict, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.ModuleDict({"backbone": nn.Linear(3, 3), "head": nn.Linear(3, 2)})
    optimizer = make_optimizer(name, backbone=net["backbone"], heads=[net["head"]], lr=0.1, backbone_lr_factor=0.5, sgd_momentum=0.9, weight_decay=0.01)
    return net, optimizer


def _step(net: nn.ModuleDict, optimizer: torch.optim.Optimizer, *, found_inf: float) -> None:
    net["head"](net["backbone"](torch.ones(2, 3))).square().sum().backward()
    step_where_finite(optimizer, found_inf=torch.tensor(found_inf))
    optimizer.zero_grad()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_with_a_non_finite_gradient_changes_nothing_not_even_the_first(name: OptimizerKind) -> None:
    net, optimizer = _make(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    _step(net, optimizer, found_inf=1.0)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    other, plain = _make(name)
    _step(net, optimizer, found_inf=0.0)
    _step(other, plain, found_inf=0.0)
    for got, want in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_fused_sgd_equals_the_plain_one() -> None:
    net, optimizer = _make()
    other, _ = _make()
    plain = torch.optim.SGD(
        [{"params": other["backbone"].parameters(), "lr": 0.05}, {"params": other["head"].parameters(), "lr": 0.1}], momentum=0.9, weight_decay=0.01
    )
    set_lr(optimizer, lr=0.1)
    for _ in range(3):
        _step(net, optimizer, found_inf=0.0)
        other["head"](other["backbone"](torch.ones(2, 3))).square().sum().backward()
        plain.step()
        plain.zero_grad()
    for got, want in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_loaded_optimizer_goes_on_as_the_saved_one(name: OptimizerKind) -> None:
    net, optimizer = _make(name)
    _step(net, optimizer, found_inf=0.0)
    names: dict[torch.Tensor, str] = {parameter: key for key, parameter in net.named_parameters()}
    saved = {key: value.clone() for key, value in optimizer_tensors(optimizer, names=names).items()}
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    _step(net, optimizer, found_inf=0.0)
    other, again = _make(name)
    other.load_state_dict(weights)
    load_optimizer_tensors(again, names={parameter: key for key, parameter in other.named_parameters()}, tensors=saved)
    _step(other, again, found_inf=0.0)
    for got, want in zip(other.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_a_checkpoint_of_another_optimizer_is_refused() -> None:
    net, optimizer = _make("adamw")
    with pytest.raises(CheckpointError, match="another optim.optimizer"):
        load_optimizer_tensors(optimizer, names={parameter: key for key, parameter in net.named_parameters()}, tensors={})


def test_frozen_parameters_are_left_out_and_factors_are_kept() -> None:
    backbone, head = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    optimizer = make_optimizer("sgd", backbone=backbone, heads=[head], lr=0.1, backbone_lr_factor=0.1, sgd_momentum=0.9, weight_decay=0.0)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2]
    net, optimizer = _make()
    set_lr(optimizer, lr=0.4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.4])


def test_each_block_learns_at_a_multiple_of_the_rate_of_the_next() -> None:
    backbone, head = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)), nn.Linear(3, 2)
    backbone[1].requires_grad_(False)
    common: dict[str, Any] = {"backbone": backbone, "heads": [head], "lr": 0.1, "backbone_lr_factor": 0.5, "sgd_momentum": 0.9, "weight_decay": 0.01}
    optimizer = make_optimizer("sgd", **common, blocks=list(backbone), layer_decay=0.8)
    set_lr(optimizer, lr=0.1)
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert [rates[module.weight] for module in (backbone[0], backbone[2], head)] == pytest.approx([0.05 * 0.8**3, 0.05 * 0.8, 0.1])
    assert backbone[1].weight not in rates
    whole = make_optimizer("sgd", **common, blocks=list(backbone))
    assert [group["lr_factor"] for group in whole.param_groups] == [0.5, 1.0]
    assert {parameter for group in whole.param_groups for parameter in group["params"]} == set(rates)
