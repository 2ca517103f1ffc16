"""LOST, TokenCut, deep spectral and FOUND-style as methods: photos of several sizes in, instance maps of those sizes out."""

import numpy
import pytest
import torch

from mcdist.errors import ConfigError
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.patch_cuts.features import PatchFeatures
from mcdist.proposals.patch_cuts.patch_method import PatchMethod
from mcdist.proposals.patch_cuts.tokencut import tokencut_masks
from mcdist.proposals.registry import make_method, names, options_of
from tests.proposals.proposal_pictures import disc, files_in, iou, save_discs

METHODS = ("lost", "tokencut", "deep_spectral", "found")
OURS = {"backbone": "efficientnet_lite0", "weights": "none", "size_px": "64"}


class Colours:
    """Instead of a network: the mean colour of patches of 8 px, less its mean over the photo."""

    stride = 8

    def __call__(self, photos: torch.Tensor) -> PatchFeatures:
        values = torch.nn.functional.avg_pool2d(photos.float() / 255, 8)
        return PatchFeatures(values - values.mean(dim=(2, 3), keepdim=True))


@pytest.mark.parametrize("method", METHODS)
def test_each_is_a_method_of_any_backbone(method):
    assert method in names()
    torch.manual_seed(0)
    photos = [disc()[0], disc(width=50, height=90)[0]]
    made = make_method(method, options=OURS)
    for photo, proposal in zip(photos, made(photos), strict=True):
        assert proposal.confidence is not None
        assert proposal.instances.shape == photo.shape[:2] == proposal.confidence.shape
        assert proposal.instances.dtype == numpy.int16
    assert made.parameters["backbone"] == "efficientnet_lite0" and made.parameters["size_px"] == 64


def test_all_have_the_same_options_before_their_own_and_record_them():
    shared = ["backbone", "weights", "feature", "size_px", "split"]
    own = {"lost": ["max_objects", "expansion"], "found": ["threshold"]}
    for method, options in own.items():
        assert list(options_of(method)) == shared + options
        assert make_method(method, options=OURS).parameters == {**options_of(method), "backbone": "efficientnet_lite0", "weights": "none", "size_px": 64}
    assert make_method("lost", options={**OURS, "expansion": "7"}).parameters["expansion"] == 7


def test_a_vit_of_timm_is_a_backbone_too():
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    torch.manual_seed(0)
    made = make_method("tokencut", options={"backbone": "test_vit2", "weights": "none", "size_px": "64", "max_objects": "2"})
    assert made([disc()[0]])[0].num_objects <= 2


def colour_method(*, max_objects: int = 1) -> PatchMethod:
    return PatchMethod(
        "colours", "1", {}, extractor=Colours(), cut=lambda features, photos: tokencut_masks(features.values, max_objects=max_objects), size_px=96
    )


def test_masks_come_back_at_each_photos_own_size_and_place():
    scenes = [disc(), disc(width=150, height=100, radius=28, seed=1), disc(width=72, height=96, seed=2)]
    for (photo, truth), proposal in zip(scenes, colour_method()([photo for photo, _ in scenes]), strict=True):
        assert iou(proposal.instances > 0, truth) > 0.7, photo.shape


def test_a_photo_alone_and_among_others_gives_the_same_map():
    photos = [disc(seed=seed)[0] for seed in range(3)]
    together = colour_method()(photos)
    for photo, proposal in zip(photos, together, strict=True):
        (alone,) = colour_method()([photo])
        assert numpy.array_equal(alone.instances, proposal.instances)


def test_a_photo_that_the_cut_finds_nothing_in_has_an_empty_map():
    grey = numpy.full((40, 40, 3), 128, dtype=numpy.uint8)
    grey[::2] += 1
    method = PatchMethod("nothing", "1", {}, extractor=Colours(), cut=lambda features, photos: torch.zeros(1, 1, 8, 8, dtype=torch.bool), size_px=64)
    assert not method([grey])[0].instances.any()


def test_specks_are_dropped_and_parts_can_be_objects():
    masks = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    masks[0, 0, 2:8, 2:8] = masks[0, 0, 12:18, 12:18] = True
    photo = numpy.zeros((160, 160, 3), dtype=numpy.uint8)
    made = [PatchMethod("two", "1", {}, extractor=Colours(), cut=lambda features, photos: masks, size_px=160, split=split) for split in (False, True)]
    assert [method([photo])[0].num_objects for method in made] == [1, 2]


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="found: size_px must be at least 64, got 8"):
        make_method("found", options={"backbone": "resnet18", "weights": "none", "size_px": "8"})


def test_a_folder_of_photos_goes_through_and_twice_gives_the_same_bytes(tmp_path):
    save_discs(tmp_path / "photos", num=3)
    for out in ("one", "two"):
        propose_folder(tmp_path / "photos", out=tmp_path / out, method="found", options={**OURS, "weights": "imagenet"}, num_workers=0)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
