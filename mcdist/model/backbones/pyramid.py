"""Pyramid: any network of timm that gives feature maps by stage (`forward_intermediates`), CNN or hierarchical transformer, as a backbone.

It keeps timm's parameter names, so that a file of timm's fits. What it is made of is seen in one forward and backward pass of a small image.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from mcdist.errors import ConfigError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fetched import fetched
from mcdist.model.backbones.timm_names import PREFIX, import_timm
from mcdist.types import Rgb

STRIDE = 8
"""Of the features, where the network has a map of that stride or can be dilated to it."""

PROBE_PX = (64, 96)


class Pyramid(Backbone):
    """features = the last map; where it is dilated or coarser than stride 8, on the grid of stride 8.

    A network that timm can dilate has its last maps on that grid anyway. Of others the coarser maps are upsampled to it bilinearly, exactly aligned:
    the photo is extended to whole cells of the coarsest map, and the maps are cropped. With `native=True` nothing is upsampled.
    """

    def __init__(self, network: Any, *, native: bool = False) -> None:
        super().__init__()
        self.network = network
        maps = _probe(network)
        self.map_strides = tuple(PROBE_PX[0] // int(level.shape[2]) for level in maps)
        self.map_channels = tuple(int(level.shape[1]) for level in maps)
        self.num_blocks = len(maps)
        reaches = [number for number, stride in enumerate(self.map_strides, start=1) if stride >= STRIDE]
        self.least_blocks = reaches[0] if reaches else self.num_blocks
        self.native, self.num_blocks_used, self.coarsest = native, self.num_blocks, max(self.map_strides)
        self.mean, self.std = (_colour(network.pretrained_cfg[name]) for name in ("mean", "std"))
        self._follow(maps)

    def _follow(self, maps: list[Tensor]) -> None:
        """What depends on the maps that are used: the grid, and which parameters can learn."""
        last = self.map_strides[self.num_blocks_used - 1]
        self.stride = last if self.native else min((stride for stride in self.map_strides if STRIDE <= stride <= last), default=last)
        on_grid = [stride == self.stride if self.native else stride >= self.stride for stride in self.map_strides[: self.num_blocks_used]]
        self.level_channels = tuple(channels for channels, joins in zip(self.map_channels, on_grid, strict=False) if joins)
        self.num_channels = self.map_channels[self.num_blocks_used - 1]
        self._freeze_unused(maps[: self.num_blocks_used][-1:])

    def _freeze_unused(self, maps: list[Tensor]) -> None:
        """Parameters on which no map that is returned depends get no gradient, and engines wait for all gradients."""
        parameters = list(self.network.parameters())
        gradients = torch.autograd.grad([level.sum() for level in maps], parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)

    def join_levels(self, num_levels: int) -> None:
        """Maps that are joined have layers of their own in some networks, which learn then."""
        super().join_levels(num_levels)
        if num_levels > 1:
            self.network.requires_grad_(True)
            self._freeze_unused(_probe(self.network)[: self.num_blocks_used][-num_levels:])

    def blocks(self) -> list[nn.Module]:
        """What is executed up to each map, by the order in which the network registers its layers."""
        ends = [str(stage["module"]) for stage in self.network.feature_info][: self.num_blocks]
        parts = [_Part() for _ in range(self.num_blocks)]
        leaves = list(_leaves(self.network))
        last_of = [max((place for place, (name, _, _) in enumerate(leaves) if f"{name}.".startswith(f"{end}.")), default=0) for end in ends]
        for place, (_, owner, attribute) in enumerate(leaves):
            block = next((number for number, last in enumerate(last_of) if place <= last), self.num_blocks - 1)
            parts[block].hold(owner, attribute)
        for name, parameter in self.network.named_parameters():
            if not any(parameter is held for part in parts for held in part.parameters()):
                parts[0].register_parameter(name.replace(".", "_"), parameter)  # such as position embeddings, which no layer holds
        return list(parts[: self.num_blocks_used])

    def keep_first(self, num_blocks: int) -> None:
        """Compute the first maps only; the later layers stay, unused and frozen."""
        self.num_blocks_used = num_blocks
        self.network.requires_grad_(True)
        self._follow(_probe(self.network))

    def set_recompute(self, recompute: bool) -> None:
        """Recompute activations, by timm's own means."""
        self.network.set_grad_checkpointing(recompute)

    def levels(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Every map that is used; those on the features' grid or coarser are on that grid, where it is not `native`."""
        height, width = image.shape[2:]
        if height % self.stride or width % self.stride:
            raise ConfigError(f"this backbone takes sides that are multiples of {self.stride}, got an image of {height} x {width} px")
        padded = pad(image, (0, -width % self.coarsest, 0, -height % self.coarsest), mode="replicate")
        wanted = list(range(self.num_blocks_used))
        maps = self.network.forward_intermediates(padded, indices=wanted, stop_early=True, intermediates_only=True, output_fmt="NCHW")
        return [self._on_grid(level, stride=stride, size=(height, width)) for level, stride in zip(maps, self.map_strides, strict=False)]

    def _on_grid(self, level: Tensor, *, stride: int, size: tuple[Any, Any]) -> Tensor:
        """Upsampled where it is coarser, and without what was added to the photo. `size`: two numbers, or a trace's symbols."""
        if not self.native and stride > self.stride:
            level = interpolate(level, scale_factor=stride // self.stride, mode="bilinear", align_corners=False)
            stride = self.stride
        return level[:, :, : -(-size[0] // stride), : -(-size[1] // stride)]

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """The last map, or the last ones, joined."""
        return self.joined(self.levels(image)[-self.num_levels :]).contiguous(memory_format=torch.channels_last)


class _Part(nn.Module):
    """Layers of a network as one module, to walk over and not to call. A layer that is replaced in it is replaced in the network."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[str, tuple[list[nn.Module], str]] = {}

    def hold(self, owner: nn.Module, attribute: str) -> None:
        """Hold the owner's layer."""
        name = f"layer{len(self.owners)}"
        self.add_module(name, getattr(owner, attribute))
        self.owners[name] = ([owner], attribute)  # in a list, for a module would become a part of this one

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self.__dict__.get("owners", {}):
            (owner,), attribute = self.owners[name]
            setattr(owner, attribute, value)


def make_network(name: str, *, fetch: bool = False, dilated: bool = True, **options: Any) -> nn.Module:
    """timm's network without its classifier: dilated to stride 8 where timm can do that, and for photos of any size.

    Raises:
        ConfigError: it gives no feature maps.
        MachineError: the weights cannot be fetched.
    """
    timm = import_timm(name)
    create = partial(timm.create_model, name.removeprefix(PREFIX), pretrained=fetch, num_classes=0, **options)
    ways: list[dict[str, Any]] = [{"output_stride": STRIDE}] if dilated else []
    network: Any = None
    for way in (*ways, {"strict_img_size": False}, {}):
        try:
            network = fetched(partial(create, **way), name=name)
            break
        except (TypeError, AssertionError, NotImplementedError):  # an option that this network does not have
            continue
    if not hasattr(network, "forward_intermediates") or not hasattr(network, "feature_info"):
        raise ConfigError(f"the backbone {name} gives no feature maps by stage; use another network of timm, such as {PREFIX}convnext_tiny")
    made: nn.Module = network
    return made


def _probe(network: Any) -> list[Tensor]:
    """The maps of a small image, with their graph.

    Raises:
        ConfigError: it takes photos of one size only.
    """
    training = network.training
    try:
        maps: list[Tensor] = network.eval().forward_intermediates(torch.zeros(1, 3, *PROBE_PX), intermediates_only=True, output_fmt="NCHW")
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            "this network of timm takes photos of one size only; use one that takes any size, such as timm/convnext_tiny or timm/vit_small_patch16_224"
        ) from error
    finally:
        network.train(training)
    return maps


def _leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """(name, owner, attribute) of every layer without layers inside, in order; a layer with parameters of its own counts as one."""
    for name, module in network.named_modules():
        if name and not list(module.children()) or name and list(module.parameters(recurse=False)):
            owner, _, attribute = name.rpartition(".")
            parent = network.get_submodule(owner)
            if not any(list(network.get_submodule(above).parameters(recurse=False)) for above in _above(name)):
                yield name, parent, attribute


def _above(name: str) -> Iterator[str]:
    pieces = name.split(".")
    yield from (".".join(pieces[:length]) for length in range(1, len(pieces)))


def _colour(values: Any) -> Rgb:
    red, green, blue = map(float, values)
    return red, green, blue
