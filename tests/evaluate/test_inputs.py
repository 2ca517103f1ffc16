"""What an input does to photos and their maps, and that a store has it."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.data.shards.sample import Sample
from mcdist.evaluate.extract.photos import prepare
from mcdist.evaluate.extract.treated import augmented, centred_square, cut, drawn_colour, treated_photos
from mcdist.evaluate.inputs import INPUTS, Augmentation, Input
from tests.evaluate.colour_world import make_sample, make_store
from tests.evaluate.patch_world import PATCHES, band_sample, view_of

CROPS = Augmentation(num_passes=3, crop_scale_min=0.5, flip_probability=0.5)


def numbered(height: int = 40, width: int = 60) -> Sample:
    """Every pixel of the photo says where it is, and so do the maps."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    photo = torch.stack([rows, columns, rows + columns]).to(torch.uint8)
    return Sample(key="numbered", photo=photo, instances=rows.to(torch.int16), segments=columns.to(torch.uint8))


def aligned(sample: Sample) -> bool:
    """Whether photo and maps were cut and mirrored alike."""
    return sample.segments is not None and bool((sample.photo[0] == sample.instances).all() and (sample.photo[1] == sample.segments).all())


def test_a_pass_crops_photo_and_maps_alike_and_each_pass_differs() -> None:
    photos = treated_photos(lambda index: numbered(), num_photos=2, treatment=Input(augmentation=CROPS), augment=True)
    samples = [photos.read(index) for index in range(photos.num_photos)]
    assert photos.num_photos == 6 and all(map(aligned, samples))
    shapes = {(tuple(sample.instances.shape), int(sample.photo[0, 0, 0]), int(sample.photo[1, 0, 0])) for sample in samples}
    assert len(shapes) == 6
    assert any(int(sample.photo[1, 0, 0]) > int(sample.photo[1, 0, -1]) for sample in samples), "some are mirrored"
    for sample in samples:
        height, width = sample.instances.shape
        assert 0.45 <= height * width / 2400 <= 1 and 0.74 <= width / height <= 1.36
    again = photos.read(4)
    assert torch.equal(again.photo, samples[4].photo), "the same pass of the same photo is the same"


def test_judged_photos_are_never_augmented() -> None:
    photos = treated_photos(lambda index: numbered(), num_photos=2, treatment=INPUTS["leopart"], augment=False)
    assert photos.num_photos == 2 and torch.equal(photos.read(1).photo, numbered().photo)


def test_the_centred_square_is_centred() -> None:
    assert centred_square(40, 61) == centred_square(40, 60).__class__(top=0, left=10, height=40, width=40, flip=False)
    sample = cut(numbered(), geometry=centred_square(40, 60))
    assert aligned(sample) and sample.photo[1, 0].tolist() == list(range(10, 50))


def test_colours_change_by_their_own_chance_and_maps_do_not() -> None:
    jitter = replace(CROPS, jitter=0.1, jitter_probability=0.5)
    colours = [drawn_colour(jitter, key=(0, index)) for index in range(200)]
    changes = [name for colour in colours for name, _ in colour.jitter]
    assert all(70 < changes.count(name) < 130 for name in ("brightness", "contrast", "saturation", "hue"))
    assert all(0.9 <= amount <= 1.1 if name != "hue" else -0.1 <= amount <= 0.1 for colour in colours for name, amount in colour.jitter)
    sample, plain = augmented(numbered(), augmentation=jitter, key=(1, 2)), augmented(numbered(), augmentation=CROPS, key=(1, 2))
    assert torch.equal(sample.instances, plain.instances) and sample.photo.shape == plain.photo.shape


def test_interpolation_is_torchs_and_nearest_takes_the_pixel_under_the_centre() -> None:
    sample = make_sample(0)
    bicubic, bilinear = (prepare(sample, size_px=32, with_truth=False, interpolation=one).image for one in ("bicubic", "bilinear"))
    assert not torch.equal(bicubic, bilinear)
    assert torch.equal(prepare(sample, size_px=32, with_truth=False).image, bilinear)
    nearest = prepare(numbered(40, 40), size_px=20, with_truth=False, interpolation="nearest-exact").image
    assert nearest[0, :, 0].tolist() == list(range(1, 40, 2))


def test_a_store_under_a_cropping_input_has_the_truth_of_the_crop(tmp_path: Path) -> None:
    sample = band_sample(0, labels=[0, 1, 2, 3], size=64)
    wide = Sample(
        key="wide",
        photo=torch.cat([sample.photo, sample.photo], dim=2),
        instances=torch.cat([sample.instances, sample.instances], dim=1),
        segments=torch.cat([sample.segments, sample.segments], dim=1) if sample.segments is not None else None,
    )
    photos = treated_photos(lambda index: wide, num_photos=1, treatment=INPUTS["stego"], augment=False)
    store = make_store(tmp_path / "store", samples=[photos.read(0)], settings=replace(PATCHES, input="stego"))
    assert view_of(store).label_maps.own_size(0)[0, ::16].tolist() == [2, 3, 0, 1]


def test_the_mirrored_photos_features_are_mirrored_back(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=[band_sample(0, labels=[0, 1, 2, 3])], settings=replace(PATCHES, mirrored=True))
    view = view_of(store)
    own, mirrored = view.patches("trained").read(), store.column("photos", "mirrored/trained").read()
    assert view.has_mirrored and numpy.allclose(own, mirrored, atol=1e-3)
    assert not view_of(make_store(tmp_path / "other", samples=[band_sample(0)], settings=PATCHES)).has_mirrored


@pytest.mark.parametrize("name", ["leopart", "hummingbird"])
def test_published_augmentations_are_those_of_the_protocols(name: str) -> None:
    augmentation = INPUTS[name].augmentation
    assert augmentation is not None
    assert (augmentation.num_passes, augmentation.crop_scale_min) == {"leopart": (25, 0.8), "hummingbird": (2, 0.5)}[name]
