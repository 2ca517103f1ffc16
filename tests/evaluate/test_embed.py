import pytest
import torch
from colour_world import ColourEncoder
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mcdist.data.views.normalise import IMAGENET_MEAN, normalise
from mcdist.evaluate.embed import ENCODERS, MASKS, PROTOCOLS, ObjectMasks, evaluating, evaluation_step
from mcdist.evaluate.masks import photo_objects


def run_step(*, device: str, proposals_device: str | None = None) -> dict:
    proposals = torch.zeros(2, 32, 32, dtype=torch.int16, device=proposals_device or device)
    with torch.inference_mode():
        embedded = evaluation_step(
            torch.zeros(2, 3, 32, 32, dtype=torch.uint8, device=device),
            trained=ColourEncoder(device=device),
            initial=ColourEncoder(device=device),
            proposals=ObjectMasks(proposals, max_objects=3),
            predict_objects=lambda saliency: ObjectMasks(photo_objects(saliency), max_objects=1),
        )
    return embedded.vectors


def test_the_step_runs_on_a_pretended_gpu_without_waiting_for_it() -> None:
    with FakeTensorMode():
        vectors = run_step(device="cuda")
    assert set(vectors) == {(masks, protocol, encoder) for masks in MASKS for protocol in PROTOCOLS for encoder in ENCODERS}
    assert {tensor.device.type for tensor in vectors.values()} == {"cuda"}
    assert {(key[0], tuple(tensor.shape)) for key, tensor in vectors.items()} == {("predicted", (2, 3)), ("proposals", (6, 3))}


def test_a_tensor_left_on_the_host_is_caught() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match="cuda.*cpu|cpu.*cuda"):
        run_step(device="cuda", proposals_device="cpu")


def test_modules_evaluate_without_gradient_and_come_back_in_their_own_modes() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    module[1].eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
        assert torch.is_inference_mode_enabled()
    assert [part.training for part in module.modules()] == [True, True, False]


def test_normalising_takes_mean_and_deviation_of_each_colour() -> None:
    image = (torch.tensor(IMAGENET_MEAN).view(3, 1, 1) * 255).round().to(torch.uint8).expand(2, 3, 4, 5)
    assert normalise(image).shape == (2, 3, 4, 5)
    assert normalise(image).abs().max() < 0.01
