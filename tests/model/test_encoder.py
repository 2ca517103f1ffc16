import pytest
import torch
from torch import nn

from mcdist.choices import DecoderKind, Norm
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.decoder import make_decoder
from mcdist.model.encoder import Encoder
from mcdist.model.norms.convert import convert_norm
from tests.model.small_encoder import small_encoder


@pytest.mark.parametrize("decoder", ["deeplabv3", "linear"])
def test_an_encoder_gives_features_and_one_saliency_logit_a_cell(decoder: DecoderKind, device: torch.device) -> None:
    encoder = small_encoder(decoder).to(device)
    image = torch.randn(2, 3, 32, 48, device=device)
    embedded = encoder(image)
    assert embedded.features.shape == (2, 8, 4, 6)
    assert embedded.saliency.shape == (2, 1, 4, 6)
    encoder.eval()
    torch.testing.assert_close(encoder(image).features, encoder.head(encoder.backbone(image)).features)


def test_an_embedding_from_the_backbone_does_not_pass_the_decoder() -> None:
    backbone = make_backbone("resnet18", num_stages=3)
    module, channels = make_decoder("deeplabv3", num_channels=backbone.num_channels, width=16, atrous_rates=[1, 2], dropout=0.0)
    encoder = Encoder(backbone, decoder=module, decoder_channels=channels, embedding_dim=8, embedding_from="backbone")
    features = torch.randn(2, backbone.num_channels, 4, 4)
    torch.testing.assert_close(encoder.head(features).features, encoder.embedding(features))
    assert encoder.head(features).saliency.shape == (2, 1, 4, 4)


def test_an_encoder_that_takes_features_runs_no_backbone() -> None:
    encoder = small_encoder("linear").eval()
    features = encoder.backbone(torch.randn(2, 3, 32, 32)).detach()
    want = encoder.head(features)
    encoder.takes_features = True
    encoder.backbone.forward = None  # type: ignore[assignment,method-assign]
    torch.testing.assert_close(encoder(features).features, want.features, rtol=0, atol=0)
    halves = encoder(features.half())
    assert halves.saliency.dtype == torch.float32
    torch.testing.assert_close(halves.saliency, want.saliency, rtol=1e-2, atol=1e-2)


def test_dropout_is_what_was_asked_for() -> None:
    module, _ = make_decoder("deeplabv3", num_channels=4, width=4, atrous_rates=[1], dropout=0.25)
    assert [part.p for part in module.modules() if isinstance(part, nn.Dropout)] == [0.25]


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_an_encoder_of_channels_last_weights_keeps_every_feature_map_so(name: str) -> None:
    encoder = small_encoder("linear", name=name).to(memory_format=torch.channels_last)
    maps: dict[str, torch.Tensor] = {}
    for place, module in encoder.named_modules():
        module.register_forward_hook(lambda module, given, made, place=place: maps.update({place: made}))
    encoder(torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    maps = {place: made for place, made in maps.items() if isinstance(made, torch.Tensor) and made.dim() == 4}
    assert len(maps) > 20
    assert not [place for place, made in maps.items() if not made.is_contiguous(memory_format=torch.channels_last)]


@pytest.mark.parametrize("kind", ["frozen", "group"])
def test_converted_norms_do_not_see_the_rest_of_the_batch(kind: Norm) -> None:
    encoder = small_encoder("linear")
    convert_norm(encoder, kind=kind)
    encoder.train()
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(encoder(images).features[:1], encoder(images[:1]).features, rtol=1e-4, atol=1e-5)


def test_frozen_norm_computes_what_batch_norm_does_in_eval_mode() -> None:
    encoder = small_encoder("linear")
    encoder.train()(torch.randn(4, 3, 32, 32))
    image = torch.randn(2, 3, 32, 32)
    want = encoder.eval()(image).features
    convert_norm(encoder, kind="frozen")
    torch.testing.assert_close(encoder.train()(image).features, want, rtol=1e-4, atol=1e-5)


def test_a_group_head_gives_background_and_groups_of_each_set_linear_in_the_embedding() -> None:
    backbone = make_backbone("resnet18", num_stages=3)
    module, channels = make_decoder("linear", num_channels=backbone.num_channels, width=16, atrous_rates=[1, 2], dropout=0.0)
    encoder = Encoder(backbone, decoder=module, decoder_channels=channels, embedding_dim=8, num_groups=(3, 5))
    embedded = encoder(torch.randn(2, 3, 32, 32))
    assert encoder.groups is not None and embedded.groups is not None and embedded.groups.shape == (2, 4 + 6, 4, 4)
    torch.testing.assert_close(embedded.groups, encoder.groups(embedded.features))
    assert small_encoder("linear")(torch.randn(1, 3, 32, 32)).groups is None


def test_a_separable_decoder_sees_standardised_channels_and_five_cells_across() -> None:
    module, channels = make_decoder("separable", num_channels=6, width=16, atrous_rates=[1], dropout=0.0)
    assert channels == 16
    torch.manual_seed(0)
    features = torch.randn(4, 6, 9, 9)
    scale, offset = torch.rand(6, 1, 1) * 50 + 1, torch.randn(6, 1, 1) * 50
    torch.testing.assert_close(module.train()(features * scale + offset), module(features), rtol=1e-2, atol=1e-2)
    module.eval()
    near, far = features.clone(), features.clone()
    near[..., 4, 6], far[..., 4, 7] = 9, 9
    assert not torch.equal(module(near)[..., 4, 4], module(features)[..., 4, 4])
    torch.testing.assert_close(module(far)[..., 4, 4], module(features)[..., 4, 4], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["batch", "group", "frozen"])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_separable_decoder_takes_any_norm_and_can_be_recomputed(kind: Norm, recompute: bool) -> None:
    encoder = small_encoder("separable")
    convert_norm(encoder, kind=kind)
    encoder.set_recompute(recompute)
    encoder(torch.randn(2, 3, 32, 32)).features.square().sum().backward()
    frozen = {name for name, tensor in encoder.named_parameters() if not tensor.requires_grad}
    assert all(tensor.grad is not None for name, tensor in encoder.decoder.named_parameters() if f"decoder.{name}" not in frozen)
    assert ("decoder.0.weight" in frozen) is (kind != "frozen"), "what standardises learns nothing"
