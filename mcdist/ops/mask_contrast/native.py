"""The fused contrastive loss on a CPU. The operands are checked already; native.cpp does the work.

Memory beyond the operands: S = F C'/T and its gradient for two feature rows a thread, the exponentials of eight pixels, and the gradient
of the features. Deterministic: the work is cut by the sizes alone, and sums have one order whatever the number of threads.
"""

import ctypes
import math

import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from mcdist.ops import native


def contrast_native(
    features_BDhw: Float[Tensor, "B D h w"],
    instances_BHW: Int[Tensor, "B H W"],
    row_of_BO: Int32[Tensor, "B O"],
    candidates_ND: Float[Tensor, "N D"],
    excluded_PN: Bool[Tensor, "#P N"],
    *,
    weight_P: Float[Tensor, " P"],
    temperature: float,
    stride: int,
    want_gradient: bool,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""], Tensor]:
    """(sum over pixels of weight x cross-entropy, pixels whose best candidate is their target, gradient of the sum or an empty tensor)."""
    dtype = features_BDhw.dtype
    B, D, h, w = features_BDhw.shape
    instances_BHW = native.map_for_library(instances_BHW)
    seen = (~excluded_PN.all(0)).nonzero().squeeze(1)  # candidates that no pixel sees are left out
    scaled_DN = native.aligned_zeros(D, native.whole_lanes(max(len(seen), 1), dtype=dtype), dtype=dtype)
    scaled_DN[:, : len(seen)] = candidates_ND[seen].t() * (math.log2(math.e) / temperature)
    column_of_N = torch.zeros(len(candidates_ND), dtype=torch.int64)
    column_of_N[seen] = torch.arange(len(seen))
    longest = float(torch.linalg.vector_norm(candidates_ND[seen], dim=1).max()) / temperature if len(seen) else 0.0
    dfeatures_BhwD = torch.empty((B, h, w, D) if want_gradient else 0, dtype=dtype)
    loss, correct = ctypes.c_double(), ctypes.c_int64()
    native.call(
        f"mask_contrast_{native.suffix(dtype, instances_BHW)}",
        native.in_lanes(features_BDhw),
        instances_BHW,
        row_of_BO.contiguous(),
        scaled_DN,
        _hidden(excluded_PN, seen, num_columns=scaled_DN.shape[1]) if len(excluded_PN) > 1 else None,
        column_of_N,
        weight_P.to(dtype).contiguous(),
        dfeatures_BhwD if want_gradient else None,
        ctypes.byref(loss),
        ctypes.byref(correct),
        native.int64s(B, D, h, w, stride, native.whole_lanes(D, dtype=dtype), row_of_BO.shape[1], len(seen), scaled_DN.shape[1]),
        longest,
    )
    return torch.tensor(loss.value, dtype=dtype), torch.tensor(correct.value), dfeatures_BhwD.permute(0, 3, 1, 2) if want_gradient else dfeatures_BhwD


def _hidden(excluded_PN: Tensor, seen: Tensor, *, num_columns: int) -> Tensor:
    """Row c: what pixels do not see whose target is the c-th candidate that is left; the padding is never seen."""
    targets = seen[seen < len(excluded_PN)]
    hidden = torch.ones(len(targets), num_columns, dtype=torch.uint8)
    hidden[:, : len(seen)] = excluded_PN[targets][:, seen]
    return hidden
