"""A ViT of timm keeps the backbone's protocol: patch tokens as a grid, blocks in order, any size that is whole patches."""

import builtins
import copy
from typing import Any

import pytest
import torch
from torch import nn

from mcdist.choices import DecoderKind, Norm
from mcdist.errors import ConfigError, MachineError, MissingExtraError
from mcdist.model.backbones.freeze import freeze_before
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.backbones.vit import ViT, make_network
from mcdist.model.decoder import make_decoder
from mcdist.model.encoder import Encoder
from mcdist.model.norms.convert import convert_norm
from tests.model.backbones.tiny_vits import tiny_vit

NAMES = {
    "class token, 16 px": ("vit_tiny_patch16_224", {}, 16, 1),
    "class token, 14 px": ("vit_tiny_patch16_224", {"patch_size": 14}, 14, 1),
    "four registers and a class token": ("vit_tiny_patch16_224", {"reg_tokens": 4}, 16, 5),
    "no token but patches": ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}, 16, 0),
    "two class tokens": ("deit_tiny_distilled_patch16_224", {}, 16, 2),
    "rotary places and registers": ("vit_small_patch16_dinov3", {}, 16, 5),
}


@pytest.mark.parametrize(("name", "options", "stride", "num_prefix"), NAMES.values(), ids=NAMES)
def test_class_and_register_tokens_never_leave_the_backbone(name: str, options: dict, stride: int, num_prefix: int) -> None:
    vit = tiny_vit(name, **options)
    assert (vit.stride, vit.num_channels, vit.num_blocks, vit.num_prefix_tokens) == (stride, 32, 4, num_prefix)
    image = torch.randn(2, 3, 3 * stride, 5 * stride)
    with torch.inference_mode():
        features, tokens = vit(image), vit.network.forward_features(image)
    assert features.shape == (2, 32, 3, 5)
    assert tokens.shape == (2, num_prefix + 15, 32)
    torch.testing.assert_close(features.flatten(2).mT, tokens[:, num_prefix:], rtol=0, atol=0)


def test_a_cnn_before_the_blocks_counts_into_the_stride() -> None:
    vit = tiny_vit("vit_tiny_r_s16_p8_224")
    assert vit.stride == 32
    with torch.inference_mode():
        assert vit(torch.randn(1, 3, 64, 96)).shape == (1, 32, 2, 3)


@pytest.mark.parametrize("size", [(48, 80), (160, 160), (224, 224), (320, 256)], ids=str)
def test_position_embeddings_follow_the_size_of_the_image(size: tuple[int, int]) -> None:
    """A patch that is lit changes its own token most, wherever it is: places keep their order at every size."""
    vit = tiny_vit()
    dark = torch.zeros(1, 3, *size)
    lit = dark.clone()
    row, column = size[0] // 16 - 2, size[1] // 16 - 1
    lit[:, :, 16 * row : 16 * (row + 1), 16 * column : 16 * (column + 1)] = 3.0
    with torch.inference_mode():
        change = (vit(lit) - vit(dark)).norm(dim=1)[0]
        assert vit(dark).std(dim=(2, 3)).min() > 0, "without places all tokens of a grey photo are equal"
    assert divmod(int(change.argmax()), size[1] // 16) == (row, column)


def test_a_side_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 px patches takes sides that are multiples of 16, got an image of 32 x 40 px"):
        tiny_vit()(torch.zeros(1, 3, 32, 40))


def test_features_are_channels_last_as_the_layers_after_them_expect() -> None:
    assert tiny_vit()(torch.randn(2, 3, 32, 48)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "deit_tiny_distilled_patch16_224"])
def test_the_blocks_hold_every_parameter_that_gets_a_gradient_once(name: str) -> None:
    vit = tiny_vit(name)
    vit(torch.randn(1, 3, 32, 32)).square().sum().backward()
    held = [parameter for block in vit.blocks() for parameter in block.parameters()]
    assert len(held) == len(set(held))
    trained = {parameter_name for parameter_name, parameter in vit.named_parameters() if parameter.grad is not None}
    assert trained == {parameter_name for parameter_name, parameter in vit.named_parameters() if parameter in set(held)}
    assert all(parameter.requires_grad == (parameter_name in trained) for parameter_name, parameter in vit.named_parameters())


def test_the_pooling_norm_of_a_classifier_is_not_trained() -> None:
    vit = tiny_vit(class_token=False, global_pool="avg")
    assert not any(parameter.requires_grad for parameter in vit.network.fc_norm.parameters())


@pytest.mark.parametrize("trainable_from", [0, 1, 2, 4])
def test_blocks_before_the_first_trainable_one_are_frozen(trainable_from: int) -> None:
    vit = tiny_vit()
    freeze_before(vit, trainable_from=trainable_from)
    trains = [any(parameter.requires_grad for parameter in block.parameters()) for block in vit.blocks()]
    assert trains == [number >= trainable_from for number in range(4)]
    assert vit.network.pos_embed.requires_grad == vit.network.cls_token.requires_grad == (trainable_from == 0)


def test_first_blocks_alone_compute_what_they_do_in_the_whole_network() -> None:
    whole = tiny_vit()
    short = copy.deepcopy(whole)
    short.keep_first(3)
    image = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        levels = whole.levels(image)
        inner = whole.network.norm(levels[2].flatten(2).mT)
        torch.testing.assert_close(short(image).flatten(2).mT, inner)
        torch.testing.assert_close(levels[-1], whole(image), rtol=0, atol=0)
    assert [tuple(level.shape) for level in levels] == [(1, 32, 2, 3)] * 4
    assert len(short.blocks()) == 3


def test_joined_levels_are_the_last_blocks_tokens_end_to_end() -> None:
    torch.manual_seed(0)
    plain = tiny_vit().train()
    image = torch.randn(2, 3, 32, 48)
    with torch.inference_mode():
        levels = plain.levels(image)
    plain.join_levels(3)
    assert plain.num_channels == 3 * 32 and len(plain.level_channels) == 4
    thrifty = copy.deepcopy(plain)
    thrifty.set_recompute(True)
    for vit in (plain, thrifty):
        joined = vit(image)
        torch.testing.assert_close(joined, torch.cat(levels[-3:], dim=1), rtol=0, atol=0)
        joined.square().sum().backward()
    for (name, want), got in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        if want.requires_grad:
            torch.testing.assert_close(got.grad, want.grad, rtol=0, atol=0, msg=name)
    plain.keep_first(2)
    with pytest.raises(ConfigError, match="model.levels must be between 1 and 2"):
        plain.join_levels(3)


def test_the_final_norm_is_applied_to_what_was_chosen() -> None:
    vit, image = tiny_vit(), torch.randn(1, 3, 32, 48)
    vit.join_levels(2)
    torch.nn.init.normal_(vit.network.norm.weight)
    with torch.inference_mode():
        inner, last = vit.levels(image)[-2:]
        vit.set_final_norm("none")
        bare = vit(image)
        vit.set_final_norm("all")
        every = vit(image)
        norm = vit.network.norm

        def normed(level: torch.Tensor) -> torch.Tensor:
            return norm(level.flatten(2).mT).mT.unflatten(2, level.shape[2:])  # type: ignore[no-any-return]

        torch.testing.assert_close(bare[:, :32], inner)
        torch.testing.assert_close(normed(bare[:, 32:]), last)
        torch.testing.assert_close(every, torch.cat([normed(inner), last], dim=1))


def test_a_final_norm_that_is_not_applied_does_not_train() -> None:
    vit = tiny_vit()
    vit.set_final_norm("none")
    vit(torch.randn(1, 3, 32, 32)).sum().backward()
    assert {name for name, parameter in vit.named_parameters() if parameter.requires_grad and parameter.grad is None} == set()
    with pytest.raises(ConfigError, match="model.final_norm=none is for ViTs"):
        make_backbone("resnet18").set_final_norm("none")


@pytest.mark.parametrize("trainable_from", [-1, -3])
def test_the_last_blocks_train_where_they_are_counted_from_the_end(trainable_from: int) -> None:
    vit = tiny_vit()
    assert freeze_before(vit, trainable_from=trainable_from) == 4 + trainable_from
    trains = [any(parameter.requires_grad for parameter in block.parameters()) for block in vit.blocks()]
    assert trains == [number >= 4 + trainable_from for number in range(4)]


def test_recomputing_keeps_gradients_to_the_bit_and_runs_each_block_again() -> None:
    plain = tiny_vit().train()
    thrifty = copy.deepcopy(plain)
    thrifty.set_recompute(True)
    runs: list[int] = []
    thrifty.network.blocks[0].attn.register_forward_hook(lambda *_: runs.append(1))
    image = torch.randn(2, 3, 32, 32)
    for vit in (plain, thrifty):
        vit(image).square().sum().backward()
    assert len(runs) == 2
    for (name, want), got in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        if want.requires_grad:
            assert want.grad is not None and got.grad is not None
            torch.testing.assert_close(got.grad, want.grad, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("kind", ["sync", "shuffled", "group", "frozen"])
def test_a_norm_setting_is_refused_where_there_is_layer_norm_only(kind: Norm) -> None:
    with pytest.raises(ConfigError, match=f"model.norm={kind} needs a network with BatchNorm layers"):
        convert_norm(_encoder(tiny_vit(), decoder="linear"), kind=kind)


def test_a_norm_setting_converts_the_decoder_above_a_vit() -> None:
    encoder = _encoder(tiny_vit(), decoder="deeplabv3")
    convert_norm(encoder, kind="group")
    assert any(isinstance(module, nn.GroupNorm) for module in encoder.decoder.modules())
    assert encoder(torch.randn(2, 3, 32, 48)).features.shape == (2, 8, 2, 3)


def test_a_vit_is_found_by_its_name_with_its_own_statistics() -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    vit = make_backbone("timm/vit_tiny_patch16_224", num_stages=2)
    assert isinstance(vit, ViT)
    assert (len(vit.blocks()), vit.num_blocks) == (2, 13)
    assert (vit.mean, vit.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert make_backbone("timm/vit_small_patch16_224.dino", num_stages=2).mean == (0.485, 0.456, 0.406)


def test_a_variant_of_a_vit_has_its_own_patches_and_statistics() -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    statistics = {"mean": (0.3, 0.4, 0.5), "std": (0.1, 0.2, 0.3)}
    vit = ViT(make_network("timm/vit_tiny_patch16_224", patch_size=8, depth=2, pretrained_cfg_overlay=statistics))
    assert (vit.stride, vit.num_blocks, vit.mean, vit.std) == (8, 3, statistics["mean"], statistics["std"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/vit_tinny_patch16_224", {}, "unknown backbone 'timm/vit_tinny_patch16_224': .* did you mean 'timm/vit_tiny_patch16_224'"),
        ("vit_tiny_patch16_224", {}, "unknown backbone 'vit_tiny_patch16_224'; did you mean 'timm/vit_tiny_patch16_224'"),
        ("timm/vit_small_patch16_224.dinoo", {}, "no such weights of vit_small_patch16_224; did you mean 'timm/vit_small_patch16_224.dino'"),
        ("timm/test_vit_relpos", {}, "takes photos of one size only"),
        ("timm/beit_base_patch16_224", {}, "takes photos of one size only"),
        ("timm/vit_tiny_patch16_224", {"num_stages": 14}, "must be between 2 and 13 for timm/vit_tiny_patch16_224, or 0 for all of them, got 14"),
        ("timm/vit_tiny_patch16_224", {"weights": "imagenet"}, "packaged for efficientnet_lite0 only, not for timm/vit_tiny_patch16_224"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(name: str, options: dict, message: str) -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    with pytest.raises(ConfigError, match=message) as caught:
        make_backbone(name, **options)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")

    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no route to the hub\nand more")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(MachineError, match=r"could not get the weights of timm/vit_tiny_patch16_224 \(no route to the hub\); fetch them elsewhere"):
        make_backbone("timm/vit_tiny_patch16_224", weights="hub")


def test_weights_of_the_hub_are_fetched_by_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    real, asked = timm.create_model, []

    def create(name: str, *, pretrained: bool, **options: object) -> nn.Module:
        asked.append((name, pretrained))
        made: nn.Module = real("test_vit", **options)
        return made

    monkeypatch.setattr(timm, "create_model", create)
    make_backbone("timm/vit_small_patch16_224.dino", weights="hub")
    make_backbone("timm/vit_small_patch16_224.dino", weights="none")
    assert asked == [("vit_small_patch16_224.dino", True), ("vit_small_patch16_224.dino", False)]


def test_without_timm_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_timm(name: str, *arguments: Any, **options: Any) -> object:
        if name.split(".")[0] == "timm":
            raise ImportError("No module named 'timm'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(MissingExtraError, match=r"timm/vit_tiny_patch16_224 needs timm; pip install 'mcdist\[vit\]'"):
        make_backbone("timm/vit_tiny_patch16_224")
    with pytest.raises(ConfigError, match="unknown backbone 'resnet19'; did you mean 'resnet18'"):
        make_backbone("resnet19")


def _encoder(vit: ViT, *, decoder: DecoderKind) -> Encoder:
    module, channels = make_decoder(decoder, num_channels=vit.num_channels, width=16, atrous_rates=[1, 2], dropout=0.0)
    return Encoder(vit, decoder=module, decoder_channels=channels, embedding_dim=8)
