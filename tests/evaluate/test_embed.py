from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mcdist.data.views.normalise import normalise
from mcdist.evaluate.extract.embed import embed, upsampled
from mcdist.evaluate.extract.encoders import equal_weights, evaluating
from mcdist.evaluate.extract.masks import ObjectMasks, photo_objects
from mcdist.evaluate.extract.pool import pool_objects
from mcdist.records.names import ENCODERS, MASKS, POOLINGS, PREDICTED, PROPOSALS
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD
from tests.evaluate.colour_world import ColourEncoder, encoder_pair


def run_step(*, device: str, proposals_device: str | None = None) -> dict:
    proposals = torch.zeros(2, 32, 32, dtype=torch.int16, device=proposals_device or device)
    encoders = encoder_pair(trained=ColourEncoder(device=device), initial=ColourEncoder(device=device))
    with torch.inference_mode():
        embedded = embed(torch.zeros(2, 3, 32, 32, dtype=torch.uint8, device=device), encoders=encoders, predicted_by="saliency")
        assert embedded.saliency is not None
        saliency = upsampled(embedded.saliency, size_px=32)
        masks = {PREDICTED: ObjectMasks(photo_objects(saliency, logit_min=0.5), max_objects=1), PROPOSALS: ObjectMasks(proposals, max_objects=3)}
        return pool_objects(embedded.features, masks=masks, saliency=saliency)


def test_the_step_runs_on_a_pretended_gpu_without_waiting_for_it() -> None:
    with FakeTensorMode():
        vectors = run_step(device="cuda")
    assert set(vectors) == {(masks, pooling, encoder) for masks in MASKS for pooling in POOLINGS for encoder in ENCODERS}
    assert {tensor.device.type for tensor in vectors.values()} == {"cuda"}
    assert {(key[0], tuple(tensor.shape)) for key, tensor in vectors.items()} == {("predicted", (2, 3)), ("proposals", (6, 3))}


def test_a_tensor_left_on_the_host_is_caught() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match="cuda.*cpu|cpu.*cuda"):
        run_step(device="cuda", proposals_device="cpu")


class CountingBackbone(ColourEncoder):
    num_calls = 0

    def backbone(self, image: torch.Tensor) -> torch.Tensor:
        CountingBackbone.num_calls += 1
        return super().backbone(image)


def test_a_shared_backbone_runs_once_and_changes_no_bit() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    encoders = encoder_pair(trained=CountingBackbone(), initial=CountingBackbone(blind=True))
    apart = embed(images, encoders=encoders, predicted_by="saliency")
    CountingBackbone.num_calls = 0
    shared = replace(encoders, shared_backbone=True)
    together = embed(images, encoders=shared, predicted_by="saliency")
    assert CountingBackbone.num_calls == 1
    assert set(together.features) == {"trained", "trained backbone", "initial"}
    assert all(torch.equal(together.features[shared.aliases.get(name, name)], apart.features[name]) for name in ENCODERS)


def test_weights_are_equal_bit_for_bit_or_not_at_all() -> None:
    one = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert not equal_weights(one, other)
    other.load_state_dict(one.state_dict())
    assert equal_weights(one, other)
    other.get_buffer("1.running_mean").add_(1e-7)
    assert not equal_weights(one, other)
    assert not equal_weights(one, other[0])


def test_modules_evaluate_without_gradient_and_come_back_in_their_own_modes() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    module[1].eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
        assert torch.is_inference_mode_enabled()
    assert [part.training for part in module.modules()] == [True, True, False]


def test_normalising_takes_mean_and_deviation_of_each_colour() -> None:
    image = (torch.tensor(IMAGENET_MEAN).view(3, 1, 1) * 255).round().to(torch.uint8).expand(2, 3, 4, 5)
    normalised = normalise(image, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert normalised.shape == (2, 3, 4, 5)
    assert normalised.abs().max() < 0.01
    torch.testing.assert_close(normalise(image, mean=(0.0, 0.0, 0.0), std=(0.5, 0.5, 0.5)), image / 127.5)


def test_random_weights_see_the_same_photos_and_leave_the_others_alone() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    encoders = encoder_pair()
    floor = nn.Conv2d(3, 5, kernel_size=8, stride=8)
    plain, beside = (embed(images, encoders=one, predicted_by="saliency").features for one in (encoders, replace(encoders, random_backbone=floor)))
    assert [*beside] == [*plain, "random weights"] and all(torch.equal(beside[name], plain[name]) for name in plain)
    assert torch.equal(beside["random weights"], floor(normalise(images, mean=encoders.mean, std=encoders.std)))
