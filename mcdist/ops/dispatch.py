"""Choose the implementation that computes an operator. All compute the same; they differ in time and memory.

reference   plain torch, the definition: every pixel's embedding, band by band
compact     plain torch without full-resolution embeddings, on any device
fused       compiled: C++ on a CPU, Triton on CUDA
auto        fused where it can run and, on a CUDA device, has passed its trial there (see `verdict.py`); else compact
"""

import warnings
from functools import cache
from importlib.util import find_spec

import torch

from mcdist.choices import Implementation, require_choice
from mcdist.errors import ConfigError
from mcdist.ops import native
from mcdist.ops.verdict import verdict_on


def choose_implementation(device: torch.device, *, implementation: Implementation) -> Implementation:
    """The implementation for operands on `device`, never "auto"; warns once where "auto" falls back to the compact one.

    Raises:
        ConfigError: the name is unknown, or "fused" is asked for where it cannot run.
    """
    require_choice("implementation", implementation, choices=Implementation)
    if implementation in ("reference", "compact"):
        return implementation
    if implementation == "auto":
        return "fused" if may_use_fused(device.type, device.index) else "compact"
    reason = reason_not_fused(device.type)
    if reason:
        raise ConfigError(f"implementation 'fused' cannot run on {device}: {reason}; or use 'auto' or 'compact'")
    return "fused"


@torch.compiler.assume_constant_result
def may_use_fused(device_type: str, index: int | None) -> bool:
    """Whether "auto" means "fused" on a device; costs a trial at the first call of all on a CUDA device, and a look-up later."""
    reason = reason_not_fused(device_type)
    if reason:
        _warn_once(device_type, reason)
        return False
    if device_type != "cuda" or not torch.cuda.is_available():  # without CUDA these are fake tensors: nothing will run
        return True
    return verdict_on(torch.cuda.current_device() if index is None else index).trusted


@torch.compiler.assume_constant_result
def reason_not_fused(device_type: str) -> str:
    """Why the fused operators cannot run on such a device; empty where they can."""
    if device_type == "cpu":
        return native.reason_missing()
    if device_type == "cuda":
        return "" if find_spec("triton") else "triton is not installed; install it: pip install triton"
    return f"they are written for cpu and cuda, not for {device_type}"


@cache
def _warn_once(device_type: str, reason: str) -> None:
    warnings.warn(f"the fused operators cannot run on {device_type}, so slower ones do: {reason}", RuntimeWarning, stacklevel=4)
