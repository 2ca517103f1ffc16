"""PatchMethod: what LOST, TokenCut, deep spectral and FOUND-style share: photos to patches, features, a cut, and back to pixels."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor

from mcdist.choices import PatchFeature
from mcdist.errors import ConfigError
from mcdist.proposals.components import objects_of
from mcdist.proposals.fingerprint import fingerprint
from mcdist.proposals.patch_cuts.features import Extractor, PatchFeatures, make_extractor, resize_to_patches
from mcdist.proposals.patch_cuts.patches import instance_map, to_pixels
from mcdist.proposals.proposal import Method, Pixels, Proposal

Cut = Callable[[PatchFeatures, UInt8[Tensor, "B 3 H W"]], Bool[Tensor, "B n h w"]]
"""Features and the photos they are of -> patch masks of the objects, the most certain first, empty ones after them."""

BACKBONE, WEIGHTS = "vit_small_patch16_224.dino", "hub"
"""What LOST and TokenCut were published with; `hub` is where timm fetches it."""


@dataclass(slots=True)
class PatchMethod(Method):
    """Photos are resized to `size_px` on their long side; those of one size go through the network together on a GPU, alone on a CPU.

    Alone, because the sums of a batch are taken in another order: a run that was killed and continued would differ in a bit here and there.
    """

    extractor: Extractor | None = None
    cut: Cut | None = field(default=None, repr=False)
    size_px: int = 320
    split: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    batched = 16

    @torch.inference_mode()
    def propose_all(self, photos: Sequence[Pixels], *, names: Sequence[str]) -> list[Proposal]:
        """One Proposal a photo; its confidence is the patch mask's slope between patches."""
        assert self.extractor is not None and self.cut is not None
        small = [resize_to_patches(_tensor(photo), long_side_px=self.size_px, stride=self.extractor.stride) for photo in photos]
        proposals: dict[int, Proposal] = {}
        for group in _groups(small, alone=self.device.type == "cpu"):
            batch = torch.stack([small[index] for index in group]).to(self.device)
            masks_Bnhw = self.cut(self.extractor(batch), batch)
            proposals.update((index, self._proposal(masks_nhw, photo=photos[index])) for index, masks_nhw in zip(group, masks_Bnhw, strict=True))
        return [proposals[index] for index in range(len(photos))]

    def _proposal(self, masks_nhw: Tensor, *, photo: Pixels) -> Proposal:
        height, width = photo.shape[:2]
        instances = instance_map(to_pixels(masks_nhw, height=height, width=width), height=height, width=width)
        slope_HW = F.interpolate(masks_nhw.any(dim=0)[None, None].float(), size=(height, width), mode="bilinear", align_corners=False)[0, 0]
        return Proposal(_without_specks(instances, split=self.split), confidence=slope_HW.cpu().numpy())


def patch_method(name: str, *, version: str) -> Callable[[Callable[..., Cut]], Callable[..., PatchMethod]]:
    """Decorator: the maker of a cut becomes the maker of the method `name`, with these options before the cut's own.

    `backbone`, `weights` and `feature` are those of `mcdist.proposals.patch_cuts.features.make_extractor`; `size_px`: long side of the
    working copy; `split`: each connected component is an object.

    Raises (when the method is made):
        ConfigError, MissingExtraError, MachineError: as `make_extractor`; or a size below 64 px.
    """

    def method_of(make_cut: Callable[..., Cut]) -> Callable[..., PatchMethod]:
        own = inspect.signature(make_cut).parameters.values()

        def make(
            *,
            device: str = "cpu",
            backbone: str = BACKBONE,
            weights: str = WEIGHTS,
            feature: PatchFeature = "keys",
            size_px: int = 320,
            split: bool = False,
            **given: Any,
        ) -> PatchMethod:
            if size_px < 64:
                raise ConfigError(f"{name}: size_px must be at least 64, got {size_px}")
            cut = make_cut(**given)
            chosen = torch.device(device)
            extractor = make_extractor(backbone, weights=weights, feature=feature, device=chosen)
            known = weights if weights in ("hub", "imagenet", "none") else fingerprint(Path(weights))
            shared = {"backbone": backbone, "weights": known, "feature": feature, "size_px": size_px, "split": split}
            parameters = {**shared, **{option.name: option.default for option in own}, **given}
            return PatchMethod(name, version, parameters, extractor=extractor, cut=cut, size_px=size_px, split=split, device=chosen)

        before = [option for option in inspect.signature(make).parameters.values() if option.kind is not option.VAR_KEYWORD]
        make.__doc__ = make_cut.__doc__
        make.__signature__ = inspect.Signature([*before, *own])  # type: ignore[attr-defined]  # the registry reads the options there
        return make

    return method_of


def _tensor(photo: Pixels) -> UInt8[Tensor, "3 H W"]:
    return torch.from_numpy(numpy.array(photo)).permute(2, 0, 1)


def _groups(photos: list[Tensor], *, alone: bool) -> list[list[int]]:
    """Indices of photos that go together: of one size."""
    if alone:
        return [[index] for index in range(len(photos))]
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, photo in enumerate(photos):
        by_size.setdefault(tuple(photo.shape), []).append(index)
    return list(by_size.values())


def _without_specks(instances: numpy.ndarray, *, split: bool) -> numpy.ndarray:
    """Drop components below the least area; objects keep their order, and with `split` each connected component is an object."""
    cleaned = numpy.zeros_like(instances)
    for number in range(1, int(instances.max(initial=0)) + 1):
        components = objects_of(instances == number, split=split)
        cleaned[components > 0] = components[components > 0] + cleaned.max()
    return cleaned
