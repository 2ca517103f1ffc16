"""Layouts: how published weights files name their tensors, in one table. A file is recognised by its names and translated into a network's own.

The canonical names are torchvision's for ResNets and ConvNeXts, and timm's for ViTs. Only names and shapes are known here; files are read in
`weights`. A new layout is one entry in LAYOUTS and one file of random tensors in tests/model/backbones/test_layouts.py.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mcdist.choices import PixelStatistics

Tensors = dict[str, Tensor]
Rename = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern and what takes its place, as for `re.sub`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One publisher's names. Patterns are regular expressions, matched from the beginning of a name.

    `example` is a typical name. A file is of this layout if each of `marks` matches a name. Of `parts` the first that matches a name is what
    precedes the network's own names; names without it are other parts of the training. `unused`: other parts that have no such
    beginning. `renames` are applied in order, and `edit` changes shapes or joins tensors, given the network's own names. `statistics` of the
    pixels; None where the names do not decide it. `misfit`: a sentence on why the network computes something else with these tensors, though they
    fit; empty where it does not.
    """

    name: str
    example: str
    marks: tuple[str, ...]
    parts: tuple[str, ...] = ("",)
    unused: tuple[str, ...] = ()
    renames: tuple[Rename, ...] = ()
    edit: Callable[[Tensors, Collection[str]], Tensors] | None = None
    statistics: PixelStatistics | None = "imagenet"
    misfit: Callable[[Mapping[str, Tensor], Any], str] | None = None

    def recognises(self, names: Collection[str]) -> bool:
        """Whether a file with these names is of this layout."""
        return all(any(re.match(mark, name) for name in names) for mark in self.marks)

    def translate(self, tensors: Tensors, *, own: Collection[str]) -> Tensors:
        """The file's tensors under the network's `own` names, as far as this layout knows them; the others keep theirs, to be reported."""
        part = next((part for part in self.parts if any(re.match(part, name) for name in tensors)), "")
        ours = {name[found.end() :]: tensor for name, tensor in tensors.items() if (found := re.match(part, name))}
        ours = {name: tensor for name, tensor in ours.items() if not any(re.match(pattern, name) for pattern in self.unused)}
        renamed = {_renamed(name, self.renames): tensor for name, tensor in ours.items()}
        if len(own & renamed.keys()) > len(own & ours.keys()):  # a network may have the publisher's own names, as timm's ConvNeXts do
            ours = renamed
        return ours if self.edit is None else self.edit(ours, own)


def _renamed(name: str, renames: tuple[Rename, ...]) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def _convnext_stage(found: re.Match[str]) -> str:
    """torchvision numbers stages and what is between them in one row: 1, 3, 5, 7 and 2, 4, 6."""
    return f"features.{2 * int(found['stage']) + 1}.{found['block']}."


def _convnext_between(found: re.Match[str]) -> str:
    return f"features.{2 * int(found['stage'])}."


CONVNEXT_BLOCK: tuple[Rename, ...] = (
    (r"\.(dwconv|conv_dw)\.", ".block.0."),
    (r"^(features\.\d+\.\d+)\.norm\.", r"\1.block.2."),
    (r"\.(pwconv1|mlp\.fc1)\.", ".block.3."),
    (r"\.(pwconv2|mlp\.fc2)\.", ".block.5."),
    (r"\.gamma$", ".layer_scale"),
)
CONVNEXT_AUTHORS: tuple[Rename, ...] = (
    (r"^downsample_layers\.(?P<stage>\d+)\.", _convnext_between),
    (r"^stages\.(?P<stage>\d+)\.(?P<block>\d+)\.", _convnext_stage),
    *CONVNEXT_BLOCK,
    (r"^norm\.", "classifier.0."),
    (r"^head\.", "classifier.2."),
)
CONVNEXT_TIMM: tuple[Rename, ...] = (
    (r"^stem\.", "features.0."),
    (r"^stages\.(?P<stage>\d+)\.downsample\.", _convnext_between),
    (r"^stages\.(?P<stage>\d+)\.blocks\.(?P<block>\d+)\.", _convnext_stage),
    *CONVNEXT_BLOCK,
    (r"^head\.norm\.", "classifier.0."),
    (r"^head\.fc\.", "classifier.2."),
)

CLIP_VIT: tuple[Rename, ...] = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
TRANSFORMERS_DINO: tuple[Rename, ...] = (
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^(encoder\.)?(model\.)?layer\.", "blocks."),
    (r"\.attention\.(attention\.)?(query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.)?(key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.)?(value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
"""Hugging Face transformers' names of DINOv2 and DINOv3."""

CHUNKED_BLOCKS: Rename = (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.")
"""DINOv2's training keeps its blocks in chunks, but numbers them in one row."""


def _clip(tensors: Tensors, own: Collection[str]) -> Tensors:
    """The class token and the places get the axes for the batch and for the token. The projection behind the tower is unused."""
    lifted = {name: tensor for name, tensor in tensors.items() if name not in ("proj", "input_resolution", "context_length", "vocab_size")}
    for name, ndim in (("cls_token", 3), ("pos_embed", 3)):
        if name in lifted:
            lifted[name] = lifted[name].reshape((1,) * (ndim - lifted[name].ndim) + tuple(lifted[name].shape))
    return lifted


def _dinov2(tensors: Tensors, own: Collection[str]) -> Tensors:
    """timm adds no places to class and register tokens, so the class token's place becomes part of the token; SwiGLU layers have other names."""
    tensors = _joined_qkv(tensors)
    if "register_tokens" in tensors and "reg_token" in own and {"cls_token", "pos_embed"} <= tensors.keys():
        place = tensors["pos_embed"]
        tensors |= {"reg_token": tensors.pop("register_tokens"), "cls_token": tensors["cls_token"] + place[:, :1], "pos_embed": place[:, 1:]}
    swiglu = ((r"\.mlp\.w12\.", ".mlp.fc1."), (r"\.mlp\.w3\.", ".mlp.fc2."))
    return {_renamed(name, swiglu): tensor for name, tensor in tensors.items()}


def _dinov3(tensors: Tensors, own: Collection[str]) -> Tensors:
    """Rotary places are computed, not loaded. timm has no bias of keys; a bias that is zero in the file may be missing in the network."""
    renames: tuple[Rename, ...] = (
        (r"^(storage_tokens|register_tokens)$", "reg_token"),
        (r"\.ls([12])\.gamma$", r".gamma_\1"),
        (r"\.mlp\.gate_proj\.", ".mlp.w1."),
        (r"\.mlp\.up_proj\.", ".mlp.w2." if any(".mlp.gate_proj." in name for name in tensors) else ".mlp.fc1."),
        (r"\.mlp\.down_proj\.", ".mlp.w3." if any(".mlp.gate_proj." in name for name in tensors) else ".mlp.fc2."),
    )
    edited: Tensors = {}
    for name, tensor in _joined_qkv(tensors).items():
        if not name.endswith(".attn.qkv.bias"):
            edited[_renamed(name, renames)] = tensor
            continue
        query, key, value = tensor.chunk(3)
        beginning = name.removesuffix("qkv.bias")
        biases = {f"{beginning}q_bias": query, f"{beginning}v_bias": value}
        edited |= {name: bias for name, bias in biases.items() if name in own or bool(bias.any())}
        if bool(torch.nan_to_num(key).any()):
            edited[name] = tensor  # a bias of the keys that the network cannot have, to be reported
    return edited


def _joined_qkv(tensors: Tensors) -> Tensors:
    """Queries', keys' and values' tensors end to end; keys may have no bias, which is zero."""
    joined = dict(tensors)
    for name in [name for name in tensors if re.search(r"\.attn\.q\.(weight|bias)$", name)]:
        beginning, kind = name[: -len("q.weight")] if name.endswith("weight") else name[: -len("q.bias")], name.rpartition(".")[2]
        three = [joined.pop(f"{beginning}{part}.{kind}", None) for part in "qkv"]
        filled = [torch.zeros_like(tensors[name]) if tensor is None else tensor for tensor in three]
        joined[f"{beginning}qkv.{kind}"] = torch.cat(filled)
    return joined


def _heads_of_moco_v3(tensors: Mapping[str, Tensor], network: Any) -> str:
    """Its ViT-S has heads of 32 channels, twice as many as others have; nothing in the file says so."""
    blocks = getattr(network, "blocks", None)
    if blocks is None or blocks[0].attn.qkv.in_features != 384 or blocks[0].attn.num_heads == 12:
        return ""
    return f"MoCo v3's ViT-S has 12 attention heads, this network {blocks[0].attn.num_heads}; use the backbone moco_v3_vit_small"


def _activation_of_openai(tensors: Mapping[str, Tensor], network: Any) -> str:
    """OpenAI trained with x * sigmoid(1.702 x), which has no tensors."""
    blocks = getattr(network, "blocks", None)
    activation = "" if blocks is None else type(blocks[0].mlp.act).__name__
    if "QuickGELU" in activation or not activation:
        return ""
    return f"OpenAI's CLIP has the activation QuickGELU, this network {activation}; use a backbone of timm with quickgelu in its name"


def _biases_of_dinov3(tensors: Mapping[str, Tensor], network: nn.Module) -> str:
    """Attention biases that are not zero, in a network without them."""
    own = network.state_dict().keys()
    if not any(name.endswith(".attn.q_bias") for name in tensors.keys() - own):
        return ""
    return "this DINOv3 has attention biases, the network none; use the backbone of timm with dinov3_qkvb in its name"


LAYOUTS = (
    Layout(
        name="MaskContrast, its authors' checkpoint",
        example="module.model_q.backbone.layer1.0.conv1.weight",
        marks=(r"model_q\.",),
        parts=(r"model_q\.backbone\.", r"model_q\."),
    ),
    Layout(
        name="DenseCL",
        example="encoder_q.0.layer1.0.conv1.weight",
        marks=(r"queue2?$", r"encoder_q\.0\.conv1\.|backbone\.conv1\."),
        parts=(r"encoder_q\.0\.", r"backbone\."),
    ),
    Layout(name="MoCo v1 or v2", example="module.encoder_q.layer1.0.conv1.weight", marks=(r"encoder_q\.",), parts=(r"encoder_q\.",)),
    Layout(
        name="MoCo v3",
        example="module.base_encoder.layer1.0.conv1.weight",
        marks=(r"base_encoder\.",),
        parts=(r"base_encoder\.",),
        misfit=_heads_of_moco_v3,
    ),
    Layout(
        name="SwAV",
        example="module.projection_head.0.weight",
        marks=(r"projection_head\.|prototypes\.",),
        unused=(r"projection_head\.", r"prototypes\."),
    ),
    Layout(
        name="VISSL",
        example="_feature_blocks.layer1.0.conv1.weight",
        marks=(r"_feature_blocks\.",),
        parts=(r"_feature_blocks\.",),
    ),
    Layout(
        name="iBOT",
        example="backbone.masked_embed",
        marks=(r"(backbone\.)?masked_embed$", r"(backbone\.)?patch_embed\."),
        parts=(r"backbone\.", ""),
        unused=(r"masked_embed$",),
    ),
    Layout(
        name="DINOv3",
        example="storage_tokens",
        marks=(r"(backbone\.)?storage_tokens$",),
        parts=(r"backbone\.", ""),
        unused=(r"rope_embed\.", r"mask_token$", r"local_cls_norm\.", r".*\.bias_mask$"),
        renames=(CHUNKED_BLOCKS,),
        edit=_dinov3,
        statistics=None,
        misfit=_biases_of_dinov3,
    ),
    Layout(
        name="DINOv3, of Hugging Face",
        example="layer.0.attention.q_proj.weight",
        marks=(r"embeddings\.register_tokens$", r"(model\.)?layer\.0\.attention\.q_proj\."),
        unused=(r"embeddings\.mask_token$", r"rope_embeddings\."),
        renames=TRANSFORMERS_DINO,
        edit=_dinov3,
        statistics=None,
        misfit=_biases_of_dinov3,
    ),
    Layout(
        name="DINOv2, of Hugging Face",
        example="encoder.layer.0.attention.attention.query.weight",
        marks=(r"embeddings\.patch_embeddings\.projection\.", r"encoder\.layer\.0\.layer_scale1\."),
        unused=(r"embeddings\.mask_token$",),
        renames=TRANSFORMERS_DINO,
        edit=_dinov2,
    ),
    Layout(
        name="DINOv2 or Franca, in training's chunks",
        example="backbone.blocks.0.0.norm1.weight",
        marks=(r"(backbone\.)?blocks\.0\.0\.norm1\.", r"(backbone\.)?patch_embed\."),
        parts=(r"backbone\.", ""),
        unused=(r"mask_token$", r"rasa_head\."),
        renames=(CHUNKED_BLOCKS,),
        edit=_dinov2,
    ),
    Layout(
        name="DINOv2 or Franca",
        example="blocks.0.ls1.gamma",
        marks=(r"(backbone\.)?mask_token$", r"(backbone\.)?blocks\.0\.ls1\.gamma$"),
        parts=(r"backbone\.", ""),
        unused=(r"mask_token$", r"rasa_head\."),
        edit=_dinov2,
    ),
    Layout(
        name="DINO",
        example="backbone.blocks.0.norm1.weight",
        marks=(r"backbone\.", r"head\.(mlp|last_layer)\b"),
        parts=(r"backbone\.",),
    ),
    Layout(
        name="OpenAI's CLIP",
        example="visual.transformer.resblocks.0.attn.in_proj_weight",
        marks=(r"visual\.class_embedding$", r"input_resolution$|context_length$"),
        parts=(r"visual\.",),
        renames=CLIP_VIT,
        edit=_clip,
        statistics="clip",
        misfit=_activation_of_openai,
    ),
    Layout(
        name="OpenCLIP",
        example="visual.transformer.resblocks.0.ln_1.weight",
        marks=(r"visual\.class_embedding$",),
        parts=(r"visual\.",),
        renames=CLIP_VIT,
        edit=_clip,
        statistics=None,
    ),
    Layout(
        name="OpenCLIP with a ConvNeXt",
        example="visual.trunk.stages.0.blocks.0.conv_dw.weight",
        marks=(r"visual\.trunk\.stem\.0\.weight$",),
        parts=(r"visual\.trunk\.",),
        renames=CONVNEXT_TIMM,
        statistics="clip",
    ),
    Layout(
        name="OpenCLIP with a network of timm",
        example="visual.trunk.blocks.0.norm1.weight",
        marks=(r"visual\.trunk\.",),
        parts=(r"visual\.trunk\.",),
        statistics=None,
    ),
    Layout(
        name="ConvNeXt, its authors' or DINOv3's",
        example="stages.0.0.dwconv.weight",
        marks=(r"downsample_layers\.0\.0\.", r"stages\.0\.0\.dwconv\."),
        unused=(r"norms\.",),
        renames=CONVNEXT_AUTHORS,
    ),
    Layout(
        name="ConvNeXt of timm",
        example="stages.0.blocks.0.conv_dw.weight",
        marks=(r"stem\.0\.weight$", r"stages\.0\.blocks\.0\.conv_dw\."),
        renames=CONVNEXT_TIMM,
        statistics=None,
    ),
    Layout(name="ConvNeXt of torchvision", example="features.1.0.layer_scale", marks=(r"features\.1\.0\.layer_scale$",)),
    Layout(
        name="ResNet of torchvision or timm, DINO's, extracted DenseCL's",
        example="layer1.0.conv1.weight",
        marks=(r"conv1\.weight$", r"layer1\.0\.conv1\."),
        statistics=None,
    ),
    Layout(
        name="ViT of timm, DINO's, MAE's, extracted iBOT's",
        example="blocks.0.attn.qkv.weight",
        marks=(r"patch_embed\.proj\.weight$", r"blocks\.0\.attn\."),
        statistics=None,
    ),
)
"""The more particular first. All of MoCo, SwAV, DINO and iBOT saw pixels of ImageNet's statistics."""


def recognise(names: Collection[str]) -> Layout | None:
    """The first layout of LAYOUTS that a file with these names has; None where it has none of them."""
    return next((layout for layout in LAYOUTS if layout.recognises(names)), None)


def nearest(names: Collection[str]) -> Layout:
    """The layout whose example is most like one of the names."""
    few = sorted(names, key=len)[:2000]

    def likeness(layout: Layout) -> float:
        return max((_alike(name, layout.example) for name in few), default=0.0)

    return max(LAYOUTS, key=likeness)


def _alike(name: str, example: str) -> float:
    """Over the parts between dots, numbers being equal."""
    ours, theirs = ([re.sub(r"\d+", "N", piece) for piece in text.split(".")] for text in (name, example))
    return difflib.SequenceMatcher(a=ours, b=theirs).ratio()
