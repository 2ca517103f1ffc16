"""SAM's masks: which take part and how they are ranked; the adapter on a tiny SAM with random weights."""

import sys

import numpy
import pytest
import torch
from safetensors.torch import save_file

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.proposals.flatten import flatten
from mcdist.proposals.networks.sam_masks import scored_masks
from mcdist.proposals.registry import make_method
from tests.proposals.proposal_pictures import disc


def record(top: int, bottom: int, left: int, right: int, *, iou: float = 0.9, stability: float = 1.0) -> dict:
    """A rectangle of a 20 x 20 photo as SAM's generator tells it."""
    mask = numpy.zeros((20, 20), dtype=bool)
    mask[top:bottom, left:right] = True
    return {"segmentation": mask, "predicted_iou": iou, "stability_score": stability, "area": int(mask.sum()), "bbox": [left, top, right - left, bottom - top]}


WHOLE, PART, DOUBLE = record(0, 10, 0, 10), record(0, 5, 0, 5, iou=0.95), record(0, 10, 0, 9, iou=0.8)
SPECK, ALL = record(19, 20, 19, 20), record(0, 20, 0, 20, iou=1.0)


def flat(records: list[dict], *, prefer: str) -> numpy.ndarray:
    masks = scored_masks(records, prefer=prefer, area_min_share=0.01, area_max_share=0.9)
    return flatten(masks, height=20, width=20)


def test_specks_and_the_whole_photo_take_no_part():
    assert len(scored_masks([SPECK, ALL, WHOLE], prefer="score", area_min_share=0.01, area_max_share=0.9)) == 1


def test_the_surer_mask_takes_the_pixels_by_score():
    instances = flat([WHOLE, PART, DOUBLE], prefer="score")
    assert (instances[:5, :5] == 1).all() and (instances[5:10, :10] == 2).all() and instances.max() == 2


def test_the_larger_mask_takes_the_pixels_by_size_and_its_part_is_gone():
    instances = flat([PART, WHOLE, DOUBLE], prefer="large")
    assert (instances[:10, :10] == 1).all() and instances.max() == 1


def test_a_score_is_predicted_iou_times_stability_within_bounds():
    records = [record(0, 10, 0, 10, iou=1.2, stability=0.9), record(0, 5, 0, 10, iou=0.5, stability=0.5), record(0, 7, 0, 10, iou=-1.0)]
    scores = [one.score for one in scored_masks(records, prefer="score", area_min_share=0.0, area_max_share=1.0)]
    assert scores == pytest.approx([1.0, 0.25, 0.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefer": "small"}, "prefer must be one of score, large"),
        ({"model": "vit_x"}, "model must be one of vit_b, vit_l, vit_h, tiny"),
        ({}, "weights must be the file of vit_b as it was published, got ''"),
        ({"area_min_share": "0.9"}, "the area shares must be 0 <= area_min_share < area_max_share <= 1"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(options, message):
    with pytest.raises(ConfigError, match=message):
        make_method("sam", options=options)


@pytest.mark.parametrize(("model", "package"), [("vit_b", "segment_anything"), ("tiny", "sam2")])
def test_without_its_package_the_install_line_is_given(model, package, tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.automatic_mask_generator", None)
    with pytest.raises(MissingExtraError, match=f"model={model} needs .*; pip install "):
        make_method("sam", options={"model": model, "weights": str(tmp_path / "weights.pth")})


def tiny_sam(checkpoint: None = None) -> torch.nn.Module:
    """SAM's own parts, 64 px and one layer."""
    modeling = pytest.importorskip("segment_anything.modeling", reason="pip install segment-anything")
    torch.manual_seed(0)
    encoder = modeling.ImageEncoderViT(depth=1, embed_dim=16, img_size=64, num_heads=2, patch_size=16, out_chans=32, global_attn_indexes=[0])
    prompts = modeling.PromptEncoder(embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=8)
    transformer = modeling.TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2)
    decoder = modeling.MaskDecoder(num_multimask_outputs=3, transformer=transformer, transformer_dim=32, iou_head_depth=1, iou_head_hidden_dim=32)
    return modeling.Sam(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder)


def test_a_tiny_sam_proposes_a_map_of_the_photos_size(tmp_path, monkeypatch):
    package = pytest.importorskip("segment_anything", reason="pip install segment-anything")
    monkeypatch.setitem(package.sam_model_registry, "vit_b", tiny_sam)
    path = tmp_path / "tiny.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tiny_sam().state_dict().items()}, path)
    options = {"weights": str(path), "points_per_side": "2", "pred_iou_min": "-100", "stability_min": "-100", "area_min_share": "0", "area_max_share": "1"}
    photo, _ = disc()
    method = make_method("sam", options=options)
    (proposal,) = method([photo])
    assert proposal.instances.shape == photo.shape[:2] and proposal.num_objects >= 1
    assert method.parameters["weights"].startswith("tiny.safetensors crc32 ")
    save_file({"image_encoder.neck.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="lacks .* of the network's"):
        make_method("sam", options=options)
