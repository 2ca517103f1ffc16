"""Patch features of our backbones and of timm's ViTs, with random weights."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.proposals.patch_cuts.features import make_extractor, resize_to_patches

CPU = torch.device("cpu")
TINY = "test_vit2"
"""timm's own network for tests: 0.4 million parameters, patches of 16 px, a class token and a register."""


def photos(height: int = 64, width: int = 96, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def tiny_vit() -> torch.nn.Module:
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    torch.manual_seed(0)
    return timm.create_model(TINY, num_classes=0).eval()


def test_our_backbone_gives_a_patch_every_eight_pixels_without_its_mean():
    extract = make_extractor("efficientnet_lite0", weights="none", device=CPU)
    features = extract(photos())
    assert extract.stride == 8
    assert features.values.shape == (2, 320, 8, 12)
    assert features.attention is None
    torch.testing.assert_close(features.values.mean(dim=(2, 3)), torch.zeros(2, 320), atol=1e-4, rtol=0)


@pytest.mark.parametrize("feature", ["keys", "tokens"])
def test_a_vit_gives_a_patch_every_sixteen_pixels_at_any_size(feature):
    tiny_vit()
    extract = make_extractor(TINY, weights="none", feature=feature, device=CPU)
    features = extract(photos(48, 112))
    assert features.values.shape == (2, 64, 3, 7)
    assert features.attention is not None and features.attention.shape == (2, 3, 7)
    assert bool((features.attention > 0).all()) and bool((features.attention.sum(dim=(1, 2)) < 1).all())


def test_keys_are_what_the_last_attention_computes(tmp_path):
    network: Any = tiny_vit()  # timm gives its networks no types
    extract = _extractor_of(network, tmp_path)
    images = photos(160, 160)
    seen: list[torch.Tensor] = []
    network.blocks[-1].attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        network.forward_features((images.float() / 255 - mean) / std)
    keys = seen[0][:, network.num_prefix_tokens :, 64:128]
    torch.testing.assert_close(extract(images).values.flatten(2).mT, keys)


def test_patches_keep_their_places_when_the_photo_is_larger_than_the_weights_were_trained_on():
    """A bright square in one patch changes that patch's token most."""
    tiny_vit()
    extract = make_extractor(TINY, weights="none", feature="tokens", device=CPU)
    dark = torch.zeros(1, 3, 192, 240, dtype=torch.uint8)
    lit = dark.clone()
    lit[:, :, 64:80, 160:176] = 255
    change = (extract(lit).values - extract(dark).values).norm(dim=1)[0]
    assert change.shape == (12, 15)
    assert divmod(int(change.argmax()), 15) == (4, 10)


def test_weights_of_another_photo_size_are_resampled(tmp_path):
    """DINO's files hold position embeddings of 224 px; here 80 px, where the network was made for 160."""
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    small = timm.create_model(TINY, num_classes=0, img_size=80)
    path = tmp_path / "small.safetensors"
    save_file(small.state_dict(), path)
    assert make_extractor(TINY, weights=str(path), device=CPU)(photos()).values.shape == (2, 64, 4, 6)


def test_weights_of_another_network_are_refused(tmp_path):
    tiny_vit()
    path = tmp_path / "other.safetensors"
    save_file({"patch_embed.proj.weight": torch.zeros(3, 3, 16, 16)}, path)
    with pytest.raises(ConfigError, match="lacks .* of the network's"):
        make_extractor(TINY, weights=str(path), device=CPU)


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("vit_smal_patch16_224", {}, "unknown backbone 'timm/vit_smal_patch16_224': .* did you mean 'timm/vit_small_patch16_224'"),
        (TINY, {"weights": "imagenet"}, "packaged for efficientnet_lite0 only"),
        (TINY, {"weights": "nowhere.pth"}, "weights=nowhere.pth: there is no file nowhere.pth"),
        ("efficientnet_lite0", {"weights": "hub"}, "weights=hub is for networks of torchvision and timm"),
    ],
)
def test_what_cannot_be_had_is_named(backbone, options, message):
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    with pytest.raises(ConfigError, match=message):
        make_extractor(backbone, **{"weights": "none", "device": CPU, **options})


def test_a_convolutional_network_of_timm_gives_its_last_feature_map():
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    extractor = make_extractor("test_resnet", weights="none", device=CPU)
    found = extractor(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert found.attention is None and tuple(found.values.shape[2:]) == (64 // extractor.stride, 96 // extractor.stride)


def test_without_timm_the_install_line_is_given(monkeypatch):
    real = builtins.__import__

    def without_timm(name, *arguments, **options):
        if name.split(".")[0] == "timm":
            raise ImportError("No module named 'timm'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(MissingExtraError, match=r"pip install 'mcdist\[vit\]'"):
        make_extractor(TINY, weights="none", device=CPU)


@pytest.mark.parametrize(("size", "wanted"), [((100, 200), (112, 224)), ((8, 8), (224, 224)), ((4, 400), (32, 224)), ((333, 250), (224, 176))])
def test_a_resized_photo_is_whole_patches_of_nearly_its_shape(size, wanted):
    photo = torch.full((3, *size), 200, dtype=torch.uint8)
    resized = resize_to_patches(photo, long_side_px=224, stride=16)
    assert tuple(resized.shape[1:]) == wanted
    assert bool((resized == 200).all())


def _extractor_of(network: torch.nn.Module, tmp_path: Path):
    path = tmp_path / "same.safetensors"
    save_file(network.state_dict(), path)
    return make_extractor(TINY, weights=str(path), device=CPU)
