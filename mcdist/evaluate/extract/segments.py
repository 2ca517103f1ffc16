"""Segments: what the group head makes of a photo. Which group each pixel belongs to, and how far a place is from being background."""

import torch
from jaxtyping import Bool, Float, Int16
from torch import Tensor

from mcdist.evaluate.extract.upsampling import upsampling_weights

LOGITS_AT_ONCE = 2**24
"""Upsampled logits in memory at a time, 64 MiB, whatever the number of groups."""


def group_maps(
    groups: Float[Tensor, "B G h w"], *, num_groups: tuple[int, ...], size_px: int, foreground: Bool[Tensor, "B S S"] | None = None
) -> dict[int, Int16[Tensor, "B S S"]]:
    """By number of groups K, each pixel's group of that set: 0 background, 1..K; the largest of the bilinearly upsampled logits.

    `groups`: the logits of all sets, K + 1 channels each. `foreground`: where another head says that there is an object; the group is then the largest of
    the K groups, and background is the rest.
    """
    sets = groups.split([number + 1 for number in num_groups], dim=1)
    if foreground is None:
        return {number: torch.stack([_largest(photo, size_px=size_px) for photo in one]) for number, one in zip(num_groups, sets, strict=True)}
    inside = {number: torch.stack([_largest(photo[1:], size_px=size_px) + 1 for photo in one]) for number, one in zip(num_groups, sets, strict=True)}
    return {number: torch.where(foreground, segments, 0) for number, segments in inside.items()}


def foreground_margin(groups: Float[Tensor, "B G h w"], *, num_groups: tuple[int, ...]) -> Float[Tensor, "B h w"]:
    """The largest logit of a group minus that of background, in the set with the most groups: positive where the head says anything but background."""
    sets = groups.split([number + 1 for number in num_groups], dim=1)
    largest = sets[num_groups.index(max(num_groups))]
    return largest[:, 1:].amax(dim=1) - largest[:, 0]


def _largest(logits: Float[Tensor, "C h w"], *, size_px: int) -> Int16[Tensor, "S S"]:
    """Upsampled in bands of rows, of which each has at most LOGITS_AT_ONCE values."""
    num_channels, height, width = logits.shape
    rows_hS = upsampling_weights(height, size=size_px, device=logits.device)
    columns_wS = upsampling_weights(width, size=size_px, device=logits.device)
    band = max(1, LOGITS_AT_ONCE // (num_channels * size_px))
    found = [(rows_hb.T @ logits @ columns_wS).argmax(dim=0).to(torch.int16) for rows_hb in rows_hS.split(band, dim=1)]
    return torch.cat(found)
