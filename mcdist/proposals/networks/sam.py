"""sam: the automatic masks of Segment Anything, 1 (extra package segment-anything) or 2 (sam2), with weights given by path. Their only home.

Many masks of a photo overlap. `sam_masks` chooses and ranks them; `flatten` resolves near-duplicates and overlaps, as for every method.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.model.backbones.weights import load_weights
from mcdist.proposals.components import AREA_MIN_SHARE
from mcdist.proposals.fingerprint import fingerprint
from mcdist.proposals.flatten import MAX_IOU, flatten
from mcdist.proposals.networks.sam_masks import PREFER, scored_masks
from mcdist.proposals.proposal import Method, Pixels, Proposal

SAM_1 = ("vit_b", "vit_l", "vit_h")
SAM_2 = {"tiny": "sam2.1_hiera_t", "small": "sam2.1_hiera_s", "base_plus": "sam2.1_hiera_b+", "large": "sam2.1_hiera_l"}

Generate = Callable[[Pixels], list[dict[str, Any]]]


@dataclass(slots=True)
class Sam(Method):
    """`generate`: a photo to SAM's records."""

    generate: Generate | None = field(default=None, repr=False)
    prefer: str = "score"
    max_iou: float = MAX_IOU
    area_min_share: float = AREA_MIN_SHARE
    area_max_share: float = 0.9

    max_side_px = 1024

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """SAM's masks, ranked and flattened."""
        assert self.generate is not None
        masks = scored_masks(self.generate(photo), prefer=self.prefer, area_min_share=self.area_min_share, area_max_share=self.area_max_share)
        return Proposal(flatten(masks, height=photo.shape[0], width=photo.shape[1], max_iou=self.max_iou))


def make(
    *,
    device: str = "cpu",
    model: str = "vit_b",
    weights: str = "",
    points_per_side: int = 32,
    pred_iou_min: float = 0.88,
    stability_min: float = 0.95,
    prefer: str = "score",
    max_iou: float = MAX_IOU,
    area_min_share: float = AREA_MIN_SHARE,
    area_max_share: float = 0.9,
) -> Sam:
    """`model`: vit_b, vit_l, vit_h (SAM 1), or tiny, small, base_plus, large (SAM 2.1). `weights`: its published file. `prefer`: score or large.

    Raises:
        ConfigError: no such model, no or other weights, or an option out of range.
        MissingExtraError: the package of that model is not installed.
    """
    if prefer not in PREFER:
        raise ConfigError(f"sam: prefer must be one of {', '.join(PREFER)}, got {prefer!r}")
    if points_per_side < 1:
        raise ConfigError(f"sam: points_per_side must be >= 1, got {points_per_side}")
    if not 0 <= area_min_share < area_max_share <= 1:
        raise ConfigError(f"sam: the area shares must be 0 <= area_min_share < area_max_share <= 1, got {area_min_share:g} and {area_max_share:g}")
    if model not in (*SAM_1, *SAM_2):
        raise ConfigError(f"sam: model must be one of {', '.join((*SAM_1, *SAM_2))}, got {model!r}")
    if not Path(weights).is_file():
        raise ConfigError(f"sam: weights must be the file of {model} as it was published, got {weights!r}; name it with --option weights=PATH")
    options = {"points_per_side": points_per_side, "pred_iou_thresh": pred_iou_min, "stability_score_thresh": stability_min}
    opened = _sam_1 if model in SAM_1 else _sam_2
    parameters = {
        "model": model,
        "weights": fingerprint(Path(weights)),
        **options,
        "prefer": prefer,
        "max_iou": max_iou,
        "area_min_share": area_min_share,
        "area_max_share": area_max_share,
    }
    return Sam(
        "sam",
        "1",
        parameters,
        generate=opened(model, weights=Path(weights), device=device, options=options),
        prefer=prefer,
        max_iou=max_iou,
        area_min_share=area_min_share,
        area_max_share=area_max_share,
    )


def _sam_1(model: str, *, weights: Path, device: str, options: dict[str, Any]) -> Generate:
    try:
        from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
    except ImportError as error:
        raise MissingExtraError(f"sam: model={model} needs segment-anything; pip install 'mcdist[sam]'") from error
    network = sam_model_registry[model](checkpoint=None)
    load_weights(network, path=weights, what=f"sam: weights={weights}")
    generate: Generate = SamAutomaticMaskGenerator(network.eval().to(device), **options).generate
    return generate


def _sam_2(model: str, *, weights: Path, device: str, options: dict[str, Any]) -> Generate:
    try:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
        from sam2.build_sam import build_sam2
    except ImportError as error:
        raise MissingExtraError(f"sam: model={model} needs sam2; pip install sam2") from error
    network = build_sam2(f"configs/sam2.1/{SAM_2[model]}.yaml", ckpt_path=None, device=device)
    load_weights(network, path=weights, what=f"sam: weights={weights}")
    generate: Generate = SAM2AutomaticMaskGenerator(network.eval(), **options).generate
    return generate
