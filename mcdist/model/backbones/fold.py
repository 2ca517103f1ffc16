"""Fold: the norms of a backbone that is only used, never trained, become part of the convolutions before them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

from mcdist.model.backbones.backbone import Backbone


def fold_norms(backbone: Backbone, *, image: Float[Tensor, "1 3 H W"]) -> int:
    """Fold every BatchNorm, frozen or not, that reads exactly what a convolution gave into that convolution, in place; returns how many.

    The same features up to rounding, in evaluation mode. Which norm follows which convolution is seen in one forward pass of `image`, so no network has
    to be known here. A network without such norms, as a ViT, stays as it is.
    """
    pairs = _pairs(backbone, image=image)
    names = {module: name for name, module in backbone.named_modules()}
    for convolution, norm in pairs:
        weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        convolution.weight, convolution.bias = weight, bias
        parent, _, name = names[norm].rpartition(".")
        setattr(backbone.get_submodule(parent), name, nn.Identity())
    return len(pairs)


def _pairs(backbone: Backbone, *, image: Tensor) -> list[tuple[Any, Any]]:
    """(convolution, norm) where the norm's input is the tensor that the convolution returned."""
    given: list[tuple[Tensor, nn.Conv2d]] = []
    found: list[tuple[Any, Any]] = []

    def note_output(module: nn.Module, inputs: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        given.append((output, module))

    def note_input(module: nn.Module, inputs: Any) -> None:
        found.extend((convolution, module) for output, convolution in given[-1:] if output is inputs[0])

    modules = list(backbone.modules())
    hooks = [module.register_forward_hook(note_output) for module in modules if isinstance(module, nn.Conv2d)]
    hooks += [module.register_forward_pre_hook(note_input) for module in modules if type(module) in (nn.BatchNorm2d, FrozenBatchNorm2d)]
    try:
        with torch.no_grad():
            features = backbone(image)
            if backbone.last_convolution is not None:
                backbone.last_convolution(features)
    finally:
        for hook in hooks:
            hook.remove()
    return found
