"""The public contrastive loss: its meaning, its checks, and the choice of the implementation that computes it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.choices import Implementation
from mcdist.ops.dispatch import choose_implementation
from mcdist.ops.mask_contrast.library import mask_contrast_op
from mcdist.ops.mask_contrast.reference import contrast_dense
from mcdist.ops.require import require_device, require_layout, require_size, require_stride
from mcdist.ops.subsample import subsample
from mcdist.ops.targets import count_targets, object_pixels, object_rows, pixel_targets, weigh_targets
from mcdist.types import MaskContrast

SIMILARITY_BYTES = 16 * 2**20
"""Cosines of prototypes with candidates that exist at once."""


def mask_contrast(
    features_BDhw: Float[Tensor, "B D h w"],
    instances_BHW: Int[Tensor, "B H W"],
    prototypes_PD: Float[Tensor, "P D"],
    bank_KD: Float[Tensor, "K D"],
    *,
    temperature: float,
    target_of: Int[Tensor, "B O"],
    prototype_valid: Bool[Tensor, " P"] | None = None,
    bank_valid_rows: int | Int[Tensor, ""] | None = None,
    target_weight: Float[Tensor, " P"] | None = None,
    weight_sum: Float[Tensor, ""] | None = None,
    pixels_per_object: int | None = None,
    seed: int | Int[Tensor, " B"] = 0,
    false_negative_cosine: float | None = None,
    deterministic: bool = False,
    debug: bool = False,
    implementation: Implementation = "auto",
) -> MaskContrast:
    """Cross-entropy of picking, for every object pixel, its own object's prototype among all prototypes and the bank.

    loss = sum_p w_j(p) (log sum_n exp z_pn - z_p,j(p)) / sum_p w_j(p), z_pn = cos(u_p, c_n) / temperature, u = features upsampled
    bilinearly (align_corners=False) to H x W, j(p) the target of pixel p, c = prototypes then bank, w_j = 1 / ln(1.02 + n_j / n)
    with n_j pixels of target j among n. MaskContrast, Van Gansbeke et al., ICCV 2021 (arXiv:2102.06191), section 3.

    Args:
        features_BDhw: any float dtype; computed in float32, or float64 if they are. H = s h and W = s w for one integer s.
        instances_BHW: 0 background, i >= 1 object i of this image, -1 void; background and void take no part.
        prototypes_PD: unit vectors, P >= 1; not normalised again.
        bank_KD: unit vectors, K >= 0; not normalised again.
        temperature: greater than 0.
        target_of: prototype row of object i of image b at [b, i - 1]. Pixels of -1, of an instance beyond O, of a row outside
            0 .. P - 1 or of a prototype that is not valid take no part.
        prototype_valid: rows that are candidates; all if None.
        bank_valid_rows: this many rows of the bank, from the first, are candidates; an int or a 0-d tensor on the device; all if None.
        target_weight: w_j, where the counts span several ranks; from this call's pixels if None.
        weight_sum: the divisor, likewise. With a sum over R ranks the loss of this call is its share: multiply by R where the engine averages.
        pixels_per_object: this many random pixels of each object take part (all of a smaller one); all pixels if None. The counts behind
            `target_weight` and `weight_sum` must then be counts of these.
        seed: of that choice; one number, or one for each image, so that the choice does not depend on which images share a call.
        false_negative_cosine: candidates whose cosine with the pixel's own prototype is greater are left out; the own one never is.
        deterministic: has no effect, since every implementation always repeats its bits on the same device.
        debug: also read the values and refuse wrong ones, which waits for the device.
        implementation: "auto", "reference", "compact" or "fused"; all compute the same (see `ops/dispatch.py`).

    Returns:
        MaskContrast(loss, correct, num_pixels): pixels whose best candidate (the first of equals) is their own prototype, and
        pixels that took part. Without any the loss is 0 and so is its gradient.

    Raises:
        ValueError: layout, dtype, sizes, devices or temperature do not fit; with `debug` also values out of range or not finite.
        ConfigError: the implementation is unknown or cannot run on this device.

    Gradient flows to the features only. A NaN in the features of an object gives NaN. Extra memory, also backward: "fused" O((P + K) (D + w))
    a thread on a CPU, O(pixels + (P + K) D) on CUDA; "compact" a chunk of logits besides the pixels' targets; the reference a few bands
    of at most 64 MiB, or of one feature row's pixels. With `false_negative_cosine` besides one byte for each prototype and candidate.
    """
    stride = _check_operands(features_BDhw, instances_BHW, prototypes_PD, bank_KD, target_of, temperature=temperature)
    _check_options(features_BDhw, prototypes_PD, bank_KD, prototype_valid, bank_valid_rows, target_weight, weight_sum)
    if debug:
        _check_values(features_BDhw, instances_BHW, prototypes_PD, bank_KD, target_of)
    chosen = choose_implementation(features_BDhw.device, implementation=implementation)
    num_prototypes, num_objects = len(prototypes_PD), target_of.shape[1]
    row_of_BO = object_rows(target_of, num_prototypes=num_prototypes, prototype_valid=prototype_valid)
    pixels_BO = object_pixels(instances_BHW, num_objects=num_objects, at_most=pixels_per_object)
    if pixels_per_object is not None:
        instances_BHW = _subsampled(instances_BHW, num_objects=num_objects, pixels_per_object=pixels_per_object, seed=seed)
    counts_P = count_targets(pixels_BO, row_of_BO=row_of_BO, num_prototypes=num_prototypes)
    dtype = torch.promote_types(features_BDhw.dtype, torch.float32)
    with torch.autocast(features_BDhw.device.type, enabled=False):
        candidates_ND = torch.cat([prototypes_PD.detach().to(dtype), bank_KD.detach().to(dtype)])
        excluded = _excluded(candidates_ND, prototype_valid, bank_valid_rows, num_prototypes=num_prototypes, false_negative_cosine=false_negative_cosine)
        # rows that are not valid may hold anything, also NaN, which a mask on the logits would let through to the gradient
        candidates_ND = candidates_ND.masked_fill(excluded.all(0)[:, None], 0)
        weight_P, weight_sum = _weights(counts_P, target_weight, weight_sum, dtype=dtype)
        if chosen == "reference":
            targets_BHW = pixel_targets(instances_BHW, row_of_BO=row_of_BO)
            weighted, correct = contrast_dense(
                features_BDhw.to(dtype), targets_BHW, candidates_ND, excluded, weight_P=weight_P, temperature=temperature, stride=stride
            )
        else:
            want_gradient = torch.is_grad_enabled() and features_BDhw.requires_grad
            operands = (features_BDhw, instances_BHW, row_of_BO, candidates_ND, excluded, weight_P)
            weighted, correct, _ = mask_contrast_op(*operands, float(temperature), stride, chosen == "fused", want_gradient)
        loss = weighted / torch.where(weight_sum == 0, 1, weight_sum)
    return MaskContrast(loss=loss, correct=correct, num_pixels=counts_P.sum())


def _subsampled(instances_BHW: Tensor, *, num_objects: int, pixels_per_object: int, seed: int | Tensor) -> Tensor:
    if pixels_per_object < 1:
        raise ValueError(f"pixels_per_object must be >= 1, or None for all pixels, got {pixels_per_object}")
    if isinstance(seed, Tensor):
        require_layout("seed", seed, num_dims=1, kind="integer")
        require_size("seed", seed, dim=0, size=len(instances_BHW), because="one an image")
        require_device(instances_BHW.device, seed=seed)
    return subsample(instances_BHW, num_objects=num_objects, pixels_per_object=pixels_per_object, seed=seed)


def _excluded(
    candidates_ND: Tensor,
    prototype_valid: Tensor | None,
    bank_valid_rows: int | Tensor | None,
    *,
    num_prototypes: int,
    false_negative_cosine: float | None,
) -> Bool[Tensor, "#P N"]:
    """Candidates that a pixel does not see: one row for all targets, or a row a target where that depends on the positive."""
    row_N = torch.arange(len(candidates_ND), device=candidates_ND.device)
    excluded_N = torch.zeros_like(row_N, dtype=torch.bool)
    if prototype_valid is not None:
        excluded_N = torch.cat([~prototype_valid, excluded_N[num_prototypes:]])
    if bank_valid_rows is not None:
        excluded_N = excluded_N | (row_N >= num_prototypes + bank_valid_rows)
    if false_negative_cosine is None:
        return excluded_N[None]
    rows_at_once = max(1, SIMILARITY_BYTES // (len(candidates_ND) * candidates_ND.dtype.itemsize))
    too_close_PN = torch.cat([rows @ candidates_ND.t() > false_negative_cosine for rows in candidates_ND[:num_prototypes].split(rows_at_once)])
    return excluded_N[None] | (too_close_PN & (row_N[:num_prototypes, None] != row_N[None]))


def _weights(counts_P: Tensor, target_weight: Tensor | None, weight_sum: Tensor | None, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    weight_P = weigh_targets(counts_P, dtype=dtype)[0] if target_weight is None else target_weight.detach().to(dtype)
    return weight_P, (counts_P * weight_P).sum() if weight_sum is None else weight_sum.detach().to(dtype)


def _check_operands(features_BDhw: Tensor, instances_BHW: Tensor, prototypes_PD: Tensor, bank_KD: Tensor, target_of: Tensor, *, temperature: float) -> int:
    stride = require_stride(features_BDhw, instances_BHW)
    for name, vectors in {"prototypes": prototypes_PD, "bank": bank_KD}.items():
        require_layout(name, vectors, num_dims=2, kind="float")
        require_size(name, vectors, dim=1, size=features_BDhw.shape[1], because="the features' own width")
    require_layout("target_of", target_of, num_dims=2, kind="integer")
    require_size("target_of", target_of, dim=0, size=len(features_BDhw), because="the images of the features")
    require_device(features_BDhw.device, instances=instances_BHW, prototypes=prototypes_PD, bank=bank_KD, target_of=target_of)
    if not len(prototypes_PD) or not target_of.shape[1]:
        raise ValueError(f"there must be at least one prototype and one object an image, got {len(prototypes_PD)} and {target_of.shape[1]}")
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    return stride


def _check_options(
    features: Tensor,
    prototypes_PD: Tensor,
    bank_KD: Tensor,
    prototype_valid: Tensor | None,
    bank_valid_rows: int | Tensor | None,
    target_weight: Tensor | None,
    weight_sum: Tensor | None,
) -> None:
    rows = bank_valid_rows if isinstance(bank_valid_rows, Tensor) else None
    expected = {"prototype_valid": (prototype_valid, 1, "bool"), "target_weight": (target_weight, 1, "float")}
    expected |= {"weight_sum": (weight_sum, 0, "float"), "bank_valid_rows": (rows, 0, "integer")}
    for name, (tensor, num_dims, kind) in expected.items():
        if tensor is not None:
            require_layout(name, tensor, num_dims=num_dims, kind=kind)
            require_device(features.device, **{name: tensor})
            if num_dims == 1:
                require_size(name, tensor, dim=0, size=len(prototypes_PD), because="the prototypes")
    if isinstance(bank_valid_rows, int) and not 0 <= bank_valid_rows <= len(bank_KD):
        raise ValueError(f"bank_valid_rows must be between 0 and the {len(bank_KD)} rows of the bank, got {bank_valid_rows}")


def _check_values(features_BDhw: Tensor, instances_BHW: Tensor, prototypes_PD: Tensor, bank_KD: Tensor, target_of: Tensor) -> None:
    for name, vectors in {"features": features_BDhw, "prototypes": prototypes_PD, "bank": bank_KD}.items():
        if not vectors.isfinite().all():
            raise ValueError(f"{name} must be finite, got {int((~vectors.isfinite()).sum())} numbers that are not")
    for name, values, last in (("instances", instances_BHW, target_of.shape[1]), ("target_of", target_of, len(prototypes_PD) - 1)):
        if ((values < -1) | (values > last)).any():
            raise ValueError(f"{name} must be between -1 and {last}, got {values.min()} to {values.max()}")
