"""Random weights that have a scale: batch norms see noise once."""

import pytest
import torch
from torch import nn

from mcdist.model.backbones.random_weights import calibrate_norms, pink_noise
from mcdist.model.backbones.registry import make_backbone


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    torch.manual_seed(0)
    return make_backbone("efficientnet_lite0")


def spread(network: nn.Module) -> float:
    with torch.inference_mode():
        features = network.eval()(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    return float(features.half().float().std())


def test_features_do_not_fade(backbone: nn.Module) -> None:
    assert spread(backbone) < 1e-6, "as they are the features of a store would be zeros"
    calibrate_norms(backbone, seed=0)
    assert 0.1 < spread(backbone) < 100


def test_only_statistics_change_and_only_by_the_seed(backbone: nn.Module) -> None:
    backbone.train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    momenta = [module.momentum for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    state = torch.random.get_rng_state()
    calibrate_norms(backbone, seed=3)
    once = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    calibrate_norms(backbone, seed=3)
    assert all(torch.equal(tensor, once[name]) for name, tensor in backbone.state_dict().items())
    changed = {name.rpartition(".")[2] for name, tensor in once.items() if not torch.equal(tensor, before[name])}
    assert changed - {"num_batches_tracked"} == {"running_mean", "running_var"}
    assert torch.equal(torch.random.get_rng_state(), state) and all(module.training for module in backbone.modules())
    assert [module.momentum for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)] == momenta


def test_a_network_without_batch_norm_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    calibrate_norms(network, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_noise_has_no_octave_more_than_another() -> None:
    noise = pink_noise(seed=0)
    assert abs(float(noise.mean())) < 1e-5 and float(noise.std()) == pytest.approx(1, abs=1e-4)
    coarse = nn.functional.avg_pool2d(noise, 32)
    assert float(coarse.std()) > 0.4, "white noise would keep 1/32"
