"""Every layout of the table, on a file written in exactly that layout: random tensors under a publisher's names, and the parts that its training leaves beside.

No published file is downloaded; docs/backbones.md says which ones were ever loaded.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ConvNeXt, ResNet
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import BasicBlock

from mcdist.errors import ConfigError
from mcdist.model.backbones.layouts import LAYOUTS, nearest, recognise
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.backbones.vit import convert_of
from mcdist.model.backbones.vit_variants import VARIANTS
from mcdist.model.backbones.weights import load_weights

Tensors = dict[str, Tensor]


def small_resnet() -> nn.Module:
    """A ResNet under torchvision's names, of one block a stage."""
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)


def small_convnext() -> nn.Module:
    """A ConvNeXt under torchvision's names, of 8 to 32 channels."""
    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 2), CNBlockConfig(24, 32, 1), CNBlockConfig(32, None, 1)], num_classes=3)


def small_vit(name: str, **options: Any) -> nn.Module:
    """A ViT of timm with 32 channels and two blocks."""
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    made: nn.Module = timm.create_model(name, **{"embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0, "dynamic_img_size": True, **options})
    return made


def random(network: nn.Module) -> Tensors:
    """What the network's publisher learnt: random tensors under the network's own names, without a classifier."""
    torch.manual_seed(1)
    names = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(("fc.", "classifier.", "head.", "fc_norm."))}
    return {name: torch.randn(tensor.shape) if tensor.is_floating_point() else tensor.clone() for name, tensor in names.items()}


def renamed(tensors: Tensors, *pairs: tuple[str, str], prefix: str = "") -> Tensors:
    """Publisher's names: the pairs of patterns, in order, then the prefix."""

    def name_of(name: str) -> str:
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)
        return prefix + name

    return {name_of(name): tensor for name, tensor in tensors.items()}


def others(tensors: Tensors, prefix: str, old: str = "") -> Tensors:
    """The same names with zeros, under another prefix: a key encoder, a student."""
    return {prefix + name.removeprefix(old): torch.zeros_like(tensor) for name, tensor in tensors.items()}


def moco(tensors: Tensors) -> dict[str, Any]:
    query = renamed(tensors, prefix="module.encoder_q.") | {f"module.encoder_q.fc.{place}.weight": torch.zeros(2, 2) for place in (0, 2)}
    state = query | others(tensors, "module.encoder_k.") | {"module.queue": torch.zeros(128, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}
    return {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.03, "params": [0]}]}}


def moco_v3(tensors: Tensors) -> dict[str, Any]:
    base = renamed(tensors, prefix="module.base_encoder.") | {f"module.base_encoder.fc.{place}.weight": torch.zeros(2, 2) for place in (0, 3, 6)}
    head = {"module.predictor.0.weight": torch.zeros(2, 2), "module.base_encoder.head.0.weight": torch.zeros(2, 2)}
    return {"state_dict": base | head | others(tensors, "module.momentum_encoder."), "scaler": {"scale": 65536.0}}


def swav(tensors: Tensors) -> dict[str, Any]:
    head = {
        "module.projection_head.0.weight": torch.zeros(4, 4),
        "module.projection_head.3.bias": torch.zeros(4),
        "module.prototypes.weight": torch.zeros(9, 4),
    }
    return renamed(tensors, prefix="module.") | head


def densecl(tensors: Tensors) -> dict[str, Any]:
    """The whole training: encoder_q is a sequence of backbone and neck, and `backbone` names its first part again."""
    parts = renamed(tensors, prefix="encoder_q.0.") | renamed(tensors, prefix="backbone.") | others(tensors, "encoder_k.0.")
    rest = {"encoder_q.1.mlp.0.weight": torch.zeros(2, 2), "queue": torch.zeros(4, 4), "queue_ptr": torch.zeros(1), "queue2": torch.zeros(4, 4)}
    return {"meta": {"epoch": 200}, "state_dict": parts | rest | {"queue2_ptr": torch.zeros(1)}}


def densecl_of_mmselfsup(tensors: Tensors) -> dict[str, Any]:
    rest = {"neck.mlp.0.weight": torch.zeros(2, 2), "queue": torch.zeros(4, 4), "queue2": torch.zeros(4, 4), "data_preprocessor.mean": torch.zeros(3)}
    return {"state_dict": renamed(tensors, prefix="backbone.") | others(tensors, "encoder_k.module.0.") | rest}


def mask_contrast(tensors: Tensors) -> dict[str, Any]:
    """As the issue describes it: query and key model, queue, saliency head."""
    query = renamed(tensors, prefix="module.model_q.backbone.")
    heads = {"module.model_q.decoder.0.convs.0.0.weight": torch.zeros(4, 4, 1, 1), "module.model_q.head.weight": torch.zeros(1, 4, 1, 1)}
    rest = {"module.queue": torch.zeros(32, 128), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}
    return {"epoch": 59, "model": query | heads | others(tensors, "module.model_k.backbone.") | rest, "optimizer": {}}


def dino_training(tensors: Tensors) -> dict[str, Any]:
    """Student, teacher, and the options as an argparse.Namespace, which is data."""
    head = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_g": torch.zeros(2, 1)}
    return {
        "student": others(tensors, "module.backbone.") | {f"module.{name}": tensor for name, tensor in head.items()},
        "teacher": renamed(tensors, prefix="backbone.") | head,
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def vissl(tensors: Tensors) -> dict[str, Any]:
    trunk = renamed(tensors, prefix="_feature_blocks.")
    return {"phase_idx": 9, "classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {"0.clf.weight": torch.zeros(2)}}, "meta": {}}}}


RESNETS: dict[str, tuple[str, Callable[[Tensors], dict[str, Any]]]] = {
    "torchvision": ("ResNet of torchvision", lambda tensors: tensors | {"fc.weight": torch.zeros(1000, 4), "fc.bias": torch.zeros(1000)}),
    "DINO ResNet-50, extracted": ("ResNet of torchvision", lambda tensors: dict(tensors)),
    "DenseCL, extracted": ("ResNet of torchvision", lambda tensors: {"state_dict": dict(tensors), "author": "DenseCL"}),
    "MoCo v2": ("MoCo v1 or v2", moco),
    "MoCo v3": ("MoCo v3", moco_v3),
    "SwAV": ("SwAV", swav),
    "VISSL": ("VISSL", vissl),
    "DenseCL": ("DenseCL", densecl),
    "DenseCL of mmselfsup": ("DenseCL", densecl_of_mmselfsup),
    "MaskContrast": ("MaskContrast, its authors' checkpoint", mask_contrast),
    "DINO, training": ("DINO", dino_training),
}


@pytest.mark.parametrize(("layout", "write"), RESNETS.values(), ids=RESNETS)
def test_a_resnet_in_its_publishers_layout_loads_whole(layout: str, write: Callable[[Tensors], dict[str, Any]], tmp_path: Path) -> None:
    network = small_resnet()
    wanted = random(network)
    assert loaded(network, write(wanted), tmp_path=tmp_path).startswith(layout)
    equal(network, wanted)


FB_CONVNEXT = (
    (r"^features\.0\.", "downsample_layers.0."),
    (r"^features\.2\.", "downsample_layers.1."),
    (r"^features\.4\.", "downsample_layers.2."),
    (r"^features\.6\.", "downsample_layers.3."),
    *((rf"^features\.{2 * stage + 1}\.", f"stages.{stage}.") for stage in range(4)),
    (r"\.block\.0\.", ".dwconv."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".pwconv1."),
    (r"\.block\.5\.", ".pwconv2."),
    (r"\.layer_scale$", ".gamma"),
)
TIMM_CONVNEXT = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d)\.", r"stages.\1.downsample."),
    (r"^stages\.(\d)\.(\d)\.", r"stages.\1.blocks.\2."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv1\.", ".mlp.fc1."),
    (r"\.pwconv2\.", ".mlp.fc2."),
)


def convnext_of_authors(tensors: Tensors) -> Tensors:
    flat = {name: tensor.flatten() if name.endswith("layer_scale") else tensor for name, tensor in tensors.items()}
    return renamed(flat, *FB_CONVNEXT) | {"norm.weight": torch.zeros(32), "norm.bias": torch.zeros(32), "head.weight": torch.zeros(3, 32)}


def convnext_of_timm(tensors: Tensors) -> Tensors:
    body = {name: tensor for name, tensor in convnext_of_authors(tensors).items() if not name.startswith(("norm", "head"))}
    return renamed(body, *TIMM_CONVNEXT) | {"head.norm.weight": torch.zeros(32), "head.fc.weight": torch.zeros(3, 32)}


CONVNEXTS: dict[str, tuple[str, Callable[[Tensors], dict[str, Any]]]] = {
    "torchvision": ("ConvNeXt of torchvision", lambda tensors: tensors | {"classifier.2.weight": torch.zeros(1000, 32)}),
    "its authors": ("ConvNeXt, its authors'", lambda tensors: {"model": convnext_of_authors(tensors)}),
    "DINOv3": ("ConvNeXt, its authors'", lambda tensors: convnext_of_authors(tensors) | {f"norms.{n}.weight": torch.zeros(4) for n in range(4)}),
    "timm": ("ConvNeXt of timm", convnext_of_timm),
    "OpenCLIP": (
        "OpenCLIP with a ConvNeXt",
        lambda tensors: renamed(convnext_of_timm(tensors), prefix="visual.trunk.") | {"visual.head.proj.weight": torch.zeros(2), "logit_scale": torch.ones(())},
    ),
}


@pytest.mark.parametrize(("layout", "write"), CONVNEXTS.values(), ids=CONVNEXTS)
def test_a_convnext_in_its_publishers_layout_loads_whole(layout: str, write: Callable[[Tensors], dict[str, Any]], tmp_path: Path) -> None:
    network = small_convnext()
    wanted = random(network)
    assert loaded(network, write(wanted), tmp_path=tmp_path).startswith(layout)
    equal(network, wanted)


@pytest.mark.parametrize("write", [convnext_of_authors, convnext_of_timm], ids=["its authors", "timm"])
def test_a_convnext_of_timm_takes_the_same_files(write: Callable[[Tensors], Tensors], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    network = timm.create_model("convnext_atto", depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=0, conv_mlp=False, ls_init_value=1e-6)
    wanted = random(small_convnext())
    loaded(network, write(wanted), tmp_path=tmp_path)
    want = renamed({name: t.flatten() if name.endswith("layer_scale") else t for name, t in wanted.items()}, *FB_CONVNEXT, *TIMM_CONVNEXT)
    equal(network, {name: want[name] for name in network.state_dict() if not name.startswith("head.")})


CLIP_NAMES = (
    (r"^patch_embed\.proj\.weight$", "conv1.weight"),
    (r"^cls_token$", "class_embedding"),
    (r"^pos_embed$", "positional_embedding"),
    (r"^norm_pre\.", "ln_pre."),
    (r"^norm\.", "ln_post."),
    (r"^blocks\.", "transformer.resblocks."),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.attn\.qkv\.", ".attn.in_proj_"),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def open_clip(tensors: Tensors) -> Tensors:
    """The vision tower, its projection, and the text tower, whose names end as the vision tower's do."""
    shaped = {name: tensor.flatten() if name == "cls_token" else tensor[0] if name == "pos_embed" else tensor for name, tensor in tensors.items()}
    text = {
        "positional_embedding": torch.zeros(77, 16),
        "text_projection": torch.zeros(16, 16),
        "logit_scale": torch.ones(()),
        "token_embedding.weight": torch.zeros(9, 16),
        "ln_final.weight": torch.zeros(16),
        "transformer.resblocks.0.attn.in_proj_weight": torch.zeros(48, 16),
    }
    return renamed(shaped, *CLIP_NAMES, prefix="visual.") | {"visual.proj": torch.zeros(32, 16)} | text


def openai_clip(tensors: Tensors) -> Tensors:
    half = {name: tensor.half() for name, tensor in open_clip(tensors).items()}
    return half | {name: torch.tensor(number) for name, number in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408))}


def dinov2_with_registers(tensors: Tensors) -> Tensors:
    """Its authors add places to the class token too, and keep the registers under another name."""
    place = torch.full((1, 1, 32), 0.25)
    parts = {"register_tokens": tensors["reg_token"], "cls_token": tensors["cls_token"] - place, "pos_embed": torch.cat([place, tensors["pos_embed"]], dim=1)}
    return {name: tensor for name, tensor in tensors.items() if name != "reg_token"} | parts | {"mask_token": torch.zeros(1, 32)}


def chunked(tensors: Tensors) -> Tensors:
    """Blocks in chunks of one, as for training that is sharded."""
    return renamed(tensors, (r"^blocks\.(\d+)\.", r"blocks.\1.\1."))


def franca(tensors: Tensors) -> dict[str, Any]:
    body = renamed(chunked(tensors), (r"\.mlp\.fc1\.", ".mlp.w12."), (r"\.mlp\.fc2\.", ".mlp.w3."), prefix="backbone.")
    return {"teacher": body | {"backbone.mask_token": torch.zeros(1, 32), "dino_head.mlp.0.weight": torch.zeros(2), "ibot_head.mlp.0.weight": torch.zeros(2)}}


def split_qkv(tensors: Tensors, names: tuple[str, str, str]) -> Tensors:
    """Queries, keys and values as transformers keeps them."""
    parts: Tensors = {}
    for name, tensor in tensors.items():
        if ".attn.qkv." not in name:
            parts[name] = tensor
            continue
        beginning, kind = name.split("attn.qkv.")
        parts |= {f"{beginning}attention.{part}.{kind}": piece for part, piece in zip(names, tensor.chunk(3), strict=True)}
    return parts


def dinov2_of_transformers(tensors: Tensors) -> Tensors:
    return renamed(
        split_qkv(tensors, ("attention.query", "attention.key", "attention.value")) | {"mask_token": torch.zeros(1, 32)},
        (r"^patch_embed\.proj\.", "patch_embeddings.projection."),
        (r"^pos_embed$", "position_embeddings"),
        (r"^(patch_embeddings|position_embeddings|cls_token|mask_token)", r"embeddings.\1"),
        (r"^blocks\.", "encoder.layer."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
        (r"^norm\.", "layernorm."),
    )


def dinov3(tensors: Tensors) -> Tensors:
    """qkv has a bias, zero in the distilled models, and a mask that keeps the keys' at zero."""
    biases = {f"blocks.{block}.attn.qkv.{name}": torch.zeros(96) for block in range(2) for name in ("bias", "bias_mask")}
    rest = {"rope_embed.periods": torch.zeros(4), "mask_token": torch.zeros(1, 32)}
    return renamed(tensors, (r"^reg_token$", "storage_tokens"), (r"\.gamma_([12])$", r".ls\1.gamma")) | biases | rest


def dinov3_with_biases(tensors: Tensors) -> Tensors:
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith(("q_bias", "v_bias"))}
    own = {
        f"blocks.{block}.attn.qkv.bias": torch.cat([tensors[f"blocks.{block}.attn.q_bias"], torch.zeros(32), tensors[f"blocks.{block}.attn.v_bias"]])
        for block in range(2)
    }
    return dinov3(plain) | own


def dinov3_of_transformers(tensors: Tensors) -> Tensors:
    return renamed(
        split_qkv(tensors, ("q_proj", "k_proj", "v_proj")) | {"mask_token": torch.zeros(1, 1, 32)},
        (r"^patch_embed\.proj\.", "patch_embeddings."),
        (r"^reg_token$", "register_tokens"),
        (r"^(patch_embeddings|register_tokens|cls_token|mask_token)", r"embeddings.\1"),
        (r"^blocks\.", "layer."),
        (r"\.attn\.proj\.", ".attention.o_proj."),
        (r"\.gamma_([12])$", r".layer_scale\1.lambda1"),
        (r"\.mlp\.fc1\.", ".mlp.up_proj."),
        (r"\.mlp\.fc2\.", ".mlp.down_proj."),
    )


def swiglu() -> dict[str, Any]:
    """Franca's layers."""
    from timm.layers import SwiGLUPacked

    return {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 4.0}


DINO, REGISTERS = "vit_small_patch16_224", "vit_small_patch14_reg4_dinov2"
VITS: dict[str, tuple[str, str, dict[str, Any], Callable[[Tensors], dict[str, Any]]]] = {
    "DINO, extracted": ("ViT of timm", DINO, {}, lambda tensors: dict(tensors)),
    "DINO, training": ("DINO", DINO, {}, dino_training),
    "iBOT, extracted": ("iBOT", DINO, {}, lambda tensors: {"state_dict": tensors | {"masked_embed": torch.zeros(1, 32)}}),
    "iBOT, training": (
        "iBOT",
        DINO,
        {},
        lambda tensors: dino_training(tensors | {"masked_embed": torch.zeros(1, 32)}) | {"ibot_loss": {"center2": torch.zeros(1)}},
    ),
    "MoCo v3": ("MoCo v3", DINO, {}, moco_v3),
    "DINOv2": ("DINOv2 or Franca", "vit_small_patch14_dinov2", {}, lambda tensors: tensors | {"mask_token": torch.zeros(1, 32)}),
    "DINOv2 with registers": ("DINOv2 or Franca", REGISTERS, {}, dinov2_with_registers),
    "DINOv2, training": (
        "DINOv2 or Franca, in",
        REGISTERS,
        {},
        lambda tensors: {"teacher": renamed(chunked(dinov2_with_registers(tensors)), prefix="backbone.")},
    ),
    "DINOv2 of transformers": ("DINOv2, of Hugging Face", "vit_small_patch14_dinov2", {}, dinov2_of_transformers),
    "Franca": ("DINOv2 or Franca, in", "vit_base_patch14_dinov2", {"swiglu": True}, franca),
    "DINOv3": ("DINOv3", "vit_small_patch16_dinov3", {}, dinov3),
    "DINOv3 with biases": ("DINOv3", "vit_small_patch16_dinov3_qkvb", {}, dinov3_with_biases),
    "DINOv3 of transformers": ("DINOv3, of Hugging Face", "vit_small_patch16_dinov3", {}, dinov3_of_transformers),
    "OpenCLIP": ("OpenCLIP", "vit_base_patch16_clip_224", {}, open_clip),
    "OpenAI's CLIP": ("OpenAI's CLIP", "vit_base_patch16_clip_quickgelu_224", {}, openai_clip),
    "OpenCLIP with timm": ("OpenCLIP with a network", DINO, {}, lambda tensors: renamed(tensors, prefix="visual.trunk.") | {"logit_scale": torch.ones(())}),
}


@pytest.mark.parametrize(("layout", "name", "options", "write"), VITS.values(), ids=VITS)
def test_a_vit_in_its_publishers_layout_loads_whole(
    layout: str, name: str, options: dict[str, Any], write: Callable[[Tensors], dict[str, Any]], tmp_path: Path
) -> None:
    network = small_vit(name, **(swiglu() if options else {}))
    wanted = random(network)
    assert loaded(network, write(wanted), tmp_path=tmp_path).startswith(layout)
    tolerance = 2e-3 if layout.startswith("OpenAI") else 1e-6  # half precision in the file; a place added and taken away
    equal(network, wanted, tolerance=tolerance)


def test_position_embeddings_of_another_size_are_resampled_and_never_left_out(tmp_path: Path) -> None:
    """DINOv2 was trained at 518 px: 37 x 37 places in the file."""
    larger, smaller = small_vit("vit_small_patch14_dinov2", img_size=112), small_vit("vit_small_patch14_dinov2", img_size=56)
    loaded(smaller, random(larger) | {"mask_token": torch.zeros(1, 32)}, tmp_path=tmp_path)
    places, file = smaller.state_dict()["pos_embed"], random(larger)["pos_embed"]
    assert places.shape == (1, 17, 32) and file.shape == (1, 65, 32)
    torch.testing.assert_close(places[:, 0], file[:, 0])
    assert float(places[0, 1:].std()) > 0.1 and abs(float(places[0, 1:].mean() - file[0, 1:].mean())) < 0.1


def test_position_embeddings_that_are_no_square_are_one_sentence(tmp_path: Path) -> None:
    network = small_vit(DINO)
    tensors = random(network) | {"pos_embed": torch.randn(1, 1 + 300, 32)}
    with pytest.raises(ConfigError, match="position embeddings|another shape") as caught:
        loaded(network, tensors, tmp_path=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("vit_base_patch16_clip_224", openai_clip, "activation QuickGELU, this network GELU; use a backbone of timm with quickgelu in its name"),
        ("vit_small_patch16_dinov3", lambda tensors: dinov3(tensors) | {"blocks.0.attn.qkv.bias": torch.ones(96)}, "dinov3_qkvb in its name"),
    ],
    ids=["OpenAI's activation", "DINOv3's biases"],
)
def test_weights_that_would_compute_something_else_are_refused(name: str, write: Callable[[Tensors], Tensors], message: str, tmp_path: Path) -> None:
    network = small_vit(name)
    with pytest.raises(ConfigError, match=message):
        loaded(network, write(random(network)), tmp_path=tmp_path)


def test_the_heads_of_moco_v3_are_not_those_of_other_small_vits(tmp_path: Path) -> None:
    twelve, six = (small_vit(DINO, embed_dim=384, num_heads=num, depth=1) for num in (12, 6))
    loaded(twelve, moco_v3(random(twelve)), tmp_path=tmp_path)
    with pytest.raises(ConfigError, match="MoCo v3's ViT-S has 12 attention heads, this network 6; use the backbone moco_v3_vit_small"):
        loaded(six, moco_v3(random(six)), tmp_path=tmp_path)


def test_the_variants_of_vits_have_what_no_file_says() -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    with torch.device("meta"):
        made: dict[str, Any] = {name: make() for name, make in VARIANTS.items()}
    assert made["moco_v3_vit_small"].get_submodule("blocks.0.attn").num_heads == 12
    widths = {name: made[f"franca_vit_{name}"].get_parameter("blocks.0.mlp.fc1.weight").shape[0] for name in ("base", "large", "giant")}
    assert widths == {"base": 2 * 2048, "large": 2 * 2736, "giant": 2 * 4096}
    assert all(network.pretrained_cfg["mean"] == (0.485, 0.456, 0.406) for network in made.values())


def test_pixel_statistics_that_differ_are_refused_and_can_be_set(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    path = tmp_path / "ibot.pth"
    torch.save({"state_dict": random(small_vit("vit_tiny_patch16_224", embed_dim=192, num_heads=3, depth=12)) | {"masked_embed": torch.zeros(1, 192)}}, path)
    with pytest.raises(
        ConfigError, match=r"\(iBOT\) were trained on pixels of the statistics imagenet, the backbone has half; set model.pixel_statistics=imagenet"
    ):
        make_backbone("timm/vit_tiny_patch16_224", weights=str(path))
    backbone = make_backbone("timm/vit_tiny_patch16_224", weights=str(path), statistics="imagenet")
    assert backbone.mean == (0.485, 0.456, 0.406) and backbone.std == (0.229, 0.224, 0.225)


def test_an_unknown_layout_names_the_nearest_known_one(tmp_path: Path) -> None:
    network = small_resnet()
    with pytest.raises(ConfigError) as caught:
        loaded(network, renamed(random(network), prefix="net.encoder_query."), tmp_path=tmp_path)
    message = str(caught.value)
    assert "lacks" in message and "of no known layout, the nearest is" in message and "layer1.0.conv1.weight" in message and "\n" not in message


def test_what_a_recognised_file_lacks_is_listed_with_its_layout(tmp_path: Path) -> None:
    network = small_resnet()
    content = moco(random(network))
    del content["state_dict"]["module.encoder_q.layer1.0.conv1.weight"]
    content["state_dict"]["module.encoder_q.layer9.weight"] = torch.zeros(1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ConfigError, match=r"lacks 1 of .* \(layer1.0.conv1.weight\) and has 1 .* \(layer9.weight\); its names are those of MoCo v1 or v2"):
        loaded(network, content, tmp_path=tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_options_and_numbers_beside_the_weights_are_read_as_data(tmp_path: Path) -> None:
    network = small_resnet()
    content = moco(random(network)) | {"args": argparse.Namespace(lr=0.03, arch="resnet50"), "best_acc1": numpy.float64(67.5)}
    loaded(network, content, tmp_path=tmp_path)
    equal(network, random(network))


def test_a_pickle_with_code_is_refused_with_the_safe_way(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(
        ConfigError, match=r"is refused: it holds more than tensors \(.*getattr.*\|?.*\), which could run code; .* save its state_dict alone as .safetensors"
    ):
        loaded(small_resnet(), {"state_dict": random(small_resnet()), "extra": _Touch(witness)}, tmp_path=tmp_path)
    assert not witness.exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_safetensors_are_recognised_by_the_same_names(tmp_path: Path) -> None:
    network, path = small_resnet(), tmp_path / "swav.safetensors"
    wanted = random(network)
    save_file(swav(wanted), path)
    load_weights(network, path=path, what="weights")
    equal(network, wanted)


def test_every_layout_of_the_table_is_tested_and_recognised_before_a_plainer_one() -> None:
    tested = [layout for table in (RESNETS, CONVNEXTS, VITS) for layout, *_ in table.values()]
    assert [layout.name for layout in LAYOUTS if not any(layout.name.startswith(name) for name in tested)] == []


def test_the_nearest_layout_is_that_of_the_likest_names() -> None:
    assert nearest(["tower.visual.transformer.resblocks.3.attn.in_proj_weight"]).name == "OpenAI's CLIP"
    assert nearest(["stages.2.11.dwconv.bias"]).name == "ConvNeXt, its authors' or DINOv3's"
    assert recognise(["something.else"]) is None


def loaded(network: nn.Module, content: Any, *, tmp_path: Path) -> str:
    """The name of the layout of a file with this content, once its tensors are in the network."""
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    convert = convert_of(network) if hasattr(network, "pretrained_cfg") else None
    layout = load_weights(network, path=path, what="model.weights=weights.pth", convert=convert).layout
    assert layout is not None
    return layout.name


def equal(network: nn.Module, wanted: Tensors, *, tolerance: float = 0.0) -> None:
    """Every tensor of the network is the publisher's."""
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(("fc.", "classifier.", "head.", "fc_norm."))}
    assert own.keys() == wanted.keys()
    for name, tensor in own.items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, wanted[name], rtol=tolerance, atol=tolerance, msg=name)
