"""Refuse operands whose shapes, dtypes or devices do not fit. Values are never read, since that would stall a GPU."""

import torch
from torch import Tensor


def require_layout(name: str, tensor: Tensor, *, num_dims: int, kind: str) -> None:
    """Check that `tensor` has `num_dims` axes and is of `kind`: "float", "integer" or "bool".

    Raises:
        ValueError: it does not, or is not.
    """
    if tensor.dim() != num_dims or _kind(tensor.dtype) != kind:
        raise ValueError(f"{name} must be {kind} with {num_dims} axes, got {_described(tensor)}")


def require_size(name: str, tensor: Tensor, *, dim: int, size: int, because: str) -> None:
    """Check that axis `dim` of `tensor` has `size` entries.

    Raises:
        ValueError: it does not.
    """
    if tensor.shape[dim] != size:
        raise ValueError(f"{name} must have {size} entries along axis {dim} ({because}), got {_described(tensor)}")


def require_device(device: torch.device, **tensors: Tensor | None) -> None:
    """Check that all given tensors are on `device`, the features' own.

    Raises:
        ValueError: one is elsewhere.
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.device != device:
            raise ValueError(f"{name} must be on {device}, where the features are, but is on {tensor.device}; move it there")


def require_stride(features_BDhw: Tensor, instances_BHW: Tensor) -> int:
    """Check features against the instance map and return the stride s: H = s h, W = s w.

    Raises:
        ValueError: a layout is wrong, the batch sizes differ or are 0, or there is no such s.
    """
    require_layout("features", features_BDhw, num_dims=4, kind="float")
    require_layout("instances", instances_BHW, num_dims=3, kind="integer")
    require_size("instances", instances_BHW, dim=0, size=len(features_BDhw), because="the images of the features")
    if not features_BDhw.numel():
        raise ValueError(f"features must have at least one image and one dimension, got {_described(features_BDhw)}")
    (h, w), (H, W) = features_BDhw.shape[2:], instances_BHW.shape[1:]
    stride = H // h if h else 0
    if stride < 1 or (stride * h, stride * w) != (H, W):
        raise ValueError(f"instances must have {h} s x {w} s pixels for one integer s, got {H} x {W}; pad the image with void to a multiple of the stride")
    return stride


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    return "float" if dtype.is_floating_point else "complex" if dtype.is_complex else "integer"


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {list(tensor.shape)}"
