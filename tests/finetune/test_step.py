"""A step is cross-entropy over pixels that count, and changes what the protocol trains and nothing else."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from mcdist.errors import TrainingError
from mcdist.finetune.augment import IDENTITY
from mcdist.finetune.network import classified, measure_norms
from mcdist.finetune.photos import LabelledBatch
from mcdist.finetune.settings import TuneSettings
from mcdist.finetune.state import start_state
from mcdist.finetune.step import tune_step
from mcdist.finetune.tune import check_finite
from tests.finetune.tiny_network import WORLD, block_of, tiny_network

SETTINGS = TuneSettings(momentum=0.0, weight_decay=0.0)


def batch(*, num=2, void=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (num, 3, 8, 8), generator=generator).to(torch.uint8)
    labels = torch.randint(0, 3, (num, 8, 8), generator=generator).to(torch.uint8)
    labels[:, :3] = 255
    if void:
        labels[:] = 255
    return LabelledBatch(images, labels, torch.from_numpy(IDENTITY)[None].expand(num, 2, 3).contiguous())


def plain_loss(network, one):
    logits = interpolate(network(one.images.float() / 255), size=(8, 8), mode="bilinear", align_corners=False)
    return cross_entropy(logits, one.labels.long(), ignore_index=255)


def parameters(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("trains_all", [False, True])
@pytest.mark.parametrize("reads", ["backbone", "decoder"])
def test_a_step_is_sgd_on_what_is_trained(reads, trains_all):
    network = tiny_network(reads=reads, trains_all=trains_all)
    expected = copy.deepcopy(network)
    one = batch()
    truth = plain_loss(expected, one)
    truth.backward()
    before = parameters(network)
    state = start_state(network, settings=SETTINGS, num_epochs=0, world=WORLD)
    loss = tune_step(state, one, lr=0.5)
    torch.testing.assert_close(loss, truth.detach(), rtol=1e-4, atol=1e-5)
    moved = {name for name, value in parameters(network).items() if not torch.equal(value, before[name])}
    trained = {"classes.weight", "classes.bias"}
    trained |= {"encoder.backbone.block.0.weight", "encoder.backbone.block.1.weight", "encoder.backbone.block.1.bias"} if trains_all else set()
    trained |= {"encoder.decoder.weight", "encoder.decoder.bias"} if trains_all and reads == "decoder" else set()
    assert moved - {"encoder.backbone.block.0.bias"} == trained
    for name, parameter in expected.named_parameters():
        if name in moved and parameter.grad is not None:
            torch.testing.assert_close(network.get_parameter(name), parameter - 0.5 * parameter.grad, rtol=1e-3, atol=1e-5)


def test_a_batch_without_a_pixel_that_counts_has_loss_0_and_changes_nothing():
    network = tiny_network(trains_all=True)
    before = parameters(network)
    state = start_state(network, settings=SETTINGS, num_epochs=0, world=WORLD)
    assert float(tune_step(state, batch(void=True), lr=0.5)) == 0
    assert float(state.skipped) == 0 and all(torch.equal(value, before[name]) for name, value in parameters(network).items())


def test_a_gradient_that_is_not_finite_is_skipped_and_counted():
    network = tiny_network()
    with torch.no_grad():
        network.classes.weight[0, 0] = float("inf")
    before = parameters(network)
    state = start_state(network, settings=TuneSettings(), num_epochs=0, world=WORLD)
    tune_step(state, batch(), lr=0.5)
    assert float(state.skipped) == 1 and all(torch.equal(value, before[name]) for name, value in parameters(network).items())
    check_finite(3, num_steps=4, step=9, lr=0.5)
    with pytest.raises(TrainingError, match="not finite in 4 steps in a row up to step 9: a learning rate of 0.5"):
        check_finite(4, num_steps=4, step=9, lr=0.5)


def test_a_network_stays_in_evaluation_mode_and_its_classifier_can_be_kept():
    network = tiny_network(reads="decoder").train()
    assert not any(part.training for part in network.modules())
    images = torch.rand(2, 3, 8, 8)
    statistics = block_of(network)[1].running_mean.clone()
    torch.testing.assert_close(classified(network.features(images), classifier=network.classifier), network(images))
    assert not network.features(images).requires_grad and torch.equal(block_of(network)[1].running_mean, statistics)


def test_a_classifier_starts_small_and_by_its_seed():
    one, same, other = tiny_network(seed=3), tiny_network(seed=3), tiny_network(seed=4)
    assert torch.equal(one.classifier, same.classifier) and not torch.equal(one.classifier, other.classifier)
    large = tiny_network(num_classes=200, reads="decoder").classifier
    assert 0.009 < float(large[:, :-1].std()) < 0.011 and float(large[:, -1].abs().max()) == 0


def test_norms_of_random_weights_are_measured_and_then_fixed():
    network = tiny_network()
    batches = [torch.rand(4, 3, 8, 8) + place for place in range(3)]
    measure_norms(network, batches)
    norm, features = block_of(network)[1], network.features(torch.cat(batches))
    assert not norm.training and norm.momentum == 0.1
    torch.testing.assert_close(features.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    before = norm.running_mean.clone()
    network.features(batches[0])
    assert torch.equal(norm.running_mean, before)
