"""Graphs are kept only where they compute what the encoder does, at every size."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mcdist.build import build_encoder
from mcdist.config import ModelConfig
from mcdist.errors import MachineError, MissingExtraError
from mcdist.export.graphs import CELLS, check, trace, write_onnx, write_program
from mcdist.export.pixel_encoder import PixelEncoder

SMALL = {"decoder_width": 8, "atrous_rates": [1, 2], "embedding_dim": 8}


def pixel_encoder(backbone: str = "resnet18", *, num_groups: tuple[int, ...] = (3, 2), **options: Any) -> PixelEncoder:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_stages": 3, **SMALL, **options}
    return PixelEncoder(build_encoder(ModelConfig(backbone=backbone, **settings), num_groups=num_groups))


@pytest.fixture(scope="module")
def encoder() -> PixelEncoder:
    return pixel_encoder()


def photos() -> list[Tensor]:
    return [torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]


def test_the_statistics_are_inside(encoder: PixelEncoder) -> None:
    pixels = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (encoder.encoder.backbone.mean, encoder.encoder.backbone.std))
    features, saliency, groups = encoder(pixels)
    wanted = encoder.encoder((pixels - mean) / std)
    assert torch.equal(features, wanted.features) and torch.equal(saliency, wanted.saliency) and torch.equal(groups, wanted.groups)
    assert encoder.outputs == ("features", "saliency", "groups")


def test_a_graph_that_is_the_encoder_agrees_at_five_sizes(encoder: PixelEncoder) -> None:
    found = check(lambda pixels: encoder(pixels), encoder=encoder, photos=photos(), what="graph")
    assert (found.difference_max, found.same_share) == (0.0, 1.0) and len(set(found.sizes)) == len(CELLS) == 5


def test_a_graph_that_is_off_is_refused(encoder: PixelEncoder) -> None:
    with pytest.raises(MachineError, match=r"the graph differs from the encoder by 1.0e-03 \(allowed: 1e-04\) .* it was not kept"):
        check(lambda pixels: [output * 1.001 for output in encoder(pixels)], encoder=encoder, photos=photos(), what="graph")


def test_a_graph_with_other_classes_is_refused(encoder: PixelEncoder) -> None:
    def flipped(pixels: Tensor) -> list[Tensor]:
        features, saliency, groups = encoder(pixels)
        return [features, saliency, groups.roll(1, dims=1) * (1 + 1e-9)]

    with pytest.raises(MachineError, match="has the same class at"):
        check(flipped, encoder=encoder, photos=photos(), what="graph")


def test_a_graph_of_one_size_is_refused(encoder: PixelEncoder) -> None:
    def one_size(pixels: Tensor) -> tuple[Tensor, ...]:
        if pixels.shape[2:] != (48, 48):
            raise RuntimeError("Guard failed")
        return encoder(pixels)  # type: ignore[no-any-return]

    with pytest.raises(MachineError, match="the graph does not take photos of 40 x 72 px: this backbone was traced for one size only; export without it"):
        check(one_size, encoder=encoder, photos=photos(), what="graph")


MODELS = {
    "ResNet, two sets of groups": ("resnet18", {"num_stages": 5}),
    "depthwise, dilated and joined": ("efficientnet_lite0", {"num_stages": 5, "levels": 2, "decoder": "separable"}),
    "ConvNeXt": ("convnext_tiny", {"num_stages": 4, "decoder": "linear"}),
    "ViT, joined levels": ("timm/vit_tiny_patch16_224", {"num_stages": 3, "levels": 2, "decoder": "linear"}),
    "ViT without positions": ("timm/vit_tiny_patch16_224", {"num_stages": 3, "decoder": "linear", "position_debias": "svd", "trainable_from": 3}),
    "rotary places": ("timm/vit_small_patch16_dinov3", {"num_stages": 3, "decoder": "linear"}),
    "upsampled pyramid": ("timm/test_mambaout", {"num_stages": 4, "decoder": "linear"}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "options"), MODELS.values(), ids=MODELS)
def test_both_graphs_compute_what_the_encoder_does(backbone: str, options: dict, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="pip install 'mcdist[onnx]'")
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    encoder = pixel_encoder(backbone, **options)
    program = trace(encoder)
    for runs, what in (
        (write_program(program, tmp_path / "encoder.pt2"), "program"),
        (write_onnx(program, tmp_path / "encoder.onnx", outputs=encoder.outputs), "ONNX"),
    ):
        found = check(runs, encoder=encoder, photos=photos(), what=what)
        assert found.difference_max <= 1e-4 and found.same_share >= 0.999
        assert [tuple(output.shape[:1]) for output in runs(torch.rand(3, 3, 2 * encoder.multiple_px, 3 * encoder.multiple_px))] == [(3,)] * len(encoder.outputs)


def test_without_onnxscript_the_install_line_is_given(encoder: PixelEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mcdist\[onnx\]'"):
        write_onnx(None, tmp_path / "encoder.onnx", outputs=encoder.outputs)
