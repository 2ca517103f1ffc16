"""Refuse operands that do not fit: shapes, dtypes and devices, never values (reading those would stall a GPU)."""

import torch
from torch import Tensor


def require_layout(name: str, tensor: Tensor, *, num_dims: int, kind: str) -> None:
    """`tensor` has `num_dims` axes and is of `kind`: "float", "integer" or "bool".

    Raises:
        ValueError: it is not.
    """
    if tensor.dim() != num_dims or _kind(tensor.dtype) != kind:
        raise ValueError(f"wanted {name} to be {kind} with {num_dims} axes, got {_described(tensor)}")


def require_size(name: str, tensor: Tensor, *, dim: int, size: int, because: str) -> None:
    """Axis `dim` of `tensor` has `size` entries.

    Raises:
        ValueError: it has not.
    """
    if tensor.shape[dim] != size:
        raise ValueError(f"wanted {name} to have {size} entries along axis {dim} ({because}), got {_described(tensor)}")


def require_device(device: torch.device, **tensors: Tensor | None) -> None:
    """All tensors that are given lie on `device`, the features' own.

    Raises:
        ValueError: one lies elsewhere.
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.device != device:
            raise ValueError(f"wanted {name} on {device}, where the features are, got it on {tensor.device}: move it there")


def require_stride(features_BDhw: Tensor, instances_BHW: Tensor) -> int:
    """Check features against the instance map and give the stride s: H = s h, W = s w.

    Raises:
        ValueError: a layout is wrong, the batch sizes differ or are 0, or there is no such s.
    """
    require_layout("features", features_BDhw, num_dims=4, kind="float")
    require_layout("instances", instances_BHW, num_dims=3, kind="integer")
    require_size("instances", instances_BHW, dim=0, size=len(features_BDhw), because="the images of the features")
    if not features_BDhw.numel():
        raise ValueError(f"wanted features of at least one image and one dimension, got {_described(features_BDhw)}")
    (h, w), (H, W) = features_BDhw.shape[2:], instances_BHW.shape[1:]
    stride = H // h if h else 0
    if stride < 1 or (stride * h, stride * w) != (H, W):
        raise ValueError(f"wanted instances of {h} s x {w} s pixels for one integer s, got {H} x {W}: pad the image with void to a multiple of the stride")
    return stride


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    return "float" if dtype.is_floating_point else "complex" if dtype.is_complex else "integer"


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {list(tensor.shape)}"
