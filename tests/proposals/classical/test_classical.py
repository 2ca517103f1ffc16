"""The methods without weights find a red disc before green noise, and stay calm before photos in which there is nothing to find."""

import numpy
import pytest

from mcdist.errors import ConfigError
from mcdist.proposals.classical.barrier_distance import barrier_distance
from mcdist.proposals.classical.saliency import otsu
from mcdist.proposals.classical.superpixels import lab_of, make_superpixels, touching_pairs
from mcdist.proposals.registry import make_method
from tests.proposals.proposal_pictures import disc, iou

LEAST_IOU = {
    "ensemble": 0.75,
    "background_detection": 0.8,
    "barrier_distance": 0.8,
    "manifold_ranking": 0.8,
    "frequency_tuned": 0.7,
    "felzenszwalb": 0.8,
    "hierarchy": 0.8,
}
METHODS = (*LEAST_IOU, "spectral_residual")


@pytest.mark.parametrize("name", LEAST_IOU)
def test_a_method_finds_a_disc(name):
    method = make_method(name)
    found = []
    for seed in range(3):
        photo, truth = disc(width=160, height=120, radius=28, seed=seed)
        proposal = method([photo])[0]
        assert proposal.instances.shape == truth.shape
        assert proposal.instances.dtype == numpy.int16
        if proposal.confidence is not None:
            assert 0 <= proposal.confidence.min() <= proposal.confidence.max() <= 1
        best = max((iou(proposal.instances == number, truth) for number in range(1, proposal.num_objects + 1)), default=0.0)
        found.append(best)
    assert numpy.mean(found) > LEAST_IOU[name], found


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(16, 16), (16, 400), (300, 17), (90, 120)])
def test_any_shape_and_any_content_gives_a_map(name, shape):
    method = make_method(name)
    random = numpy.random.default_rng(0)
    noise = random.integers(0, 256, (*shape, 3), dtype=numpy.uint8)
    halves = numpy.zeros((*shape, 3), dtype=numpy.uint8)
    halves[:, shape[1] // 2 :] = 255
    for photo in (noise, noise[..., :1].repeat(3, axis=2), halves):
        proposal = method([photo])[0]
        assert proposal.instances.shape == shape
        assert proposal.instances.min() >= 0
        assert proposal.confidence is None or numpy.isfinite(proposal.confidence).all()


def test_spectral_residual_marks_what_breaks_a_pattern():
    """It answers to edges and textures rather than to objects: a small square before smooth shades."""
    photo = numpy.zeros((120, 160, 3), dtype=numpy.uint8)
    photo[:] = numpy.linspace(40, 120, 160)[None, :, None]
    photo[50:66, 70:86] = (250, 240, 200)
    confidence = make_method("spectral_residual")([photo])[0].confidence
    assert confidence is not None
    assert confidence[50:66, 70:86].mean() > 5 * confidence.mean()


def test_two_discs_are_two_objects_where_that_is_asked_for():
    photo, truth = disc(width=200, height=120, radius=24)
    photo[:, 100:] = photo[:, :100]
    truth[:, 100:] = truth[:, :100]
    photo[:, 96:104] = (60, 130, 60)
    together = make_method("barrier_distance")([photo])[0]
    apart = make_method("barrier_distance", options={"split": "true"})([photo])[0]
    assert together.num_objects == 1
    assert apart.num_objects == 2


def test_the_same_photo_gives_the_same_map_again():
    photo, _ = disc()
    one, other = (make_method("ensemble")([photo])[0] for _ in range(2))
    assert numpy.array_equal(one.instances, other.instances)
    assert one.confidence is not None and other.confidence is not None
    assert numpy.array_equal(one.confidence, other.confidence)


def test_barriers_are_those_of_the_definition():
    """On a small map against the least over all paths, found by trying every height window."""
    random = numpy.random.default_rng(1)
    values = random.integers(0, 6, (7, 8)).astype(numpy.float32)
    assert numpy.abs(barrier_distance(values[None], num_passes=6)[0] - barriers(values)).max() <= 1
    assert (barrier_distance(values[None], num_passes=6)[0] >= barriers(values)).all()


def barriers(values: numpy.ndarray) -> numpy.ndarray:
    """The minimum barrier distance by trying, for every window of values [low, high], which pixels are joined to the border inside it."""
    from scipy import ndimage

    best = numpy.full(values.shape, numpy.inf)
    for low in range(6):
        for high in range(low, 6):
            labels, _ = ndimage.label((values >= low) & (values <= high))
            border = numpy.unique(numpy.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
            joined = numpy.isin(labels, border[border > 0])
            best[joined] = numpy.minimum(best[joined], high - low)
    return best


def test_superpixels_cover_the_photo_and_know_their_neighbours():
    photo, _ = disc()
    superpixels = make_superpixels(lab_of(photo), num=60)
    assert superpixels.areas.sum() == photo.shape[0] * photo.shape[1]
    assert numpy.array_equal(numpy.unique(superpixels.labels), numpy.arange(superpixels.num))
    assert superpixels.on_border[superpixels.labels[0]].all()
    assert (numpy.diagonal(superpixels.geodesics) == 0).all()
    assert numpy.allclose(superpixels.geodesics, superpixels.geodesics.T, atol=1e-3)
    assert numpy.array_equal(touching_pairs(numpy.array([[0, 0, 1], [2, 2, 1]])), [[0, 1], [0, 2], [1, 2]])


def test_otsu_cuts_between_two_heaps():
    values = numpy.concatenate([numpy.full(500, 0.2), numpy.full(200, 0.8)]).reshape(70, 10)
    assert 0.2 < otsu(values) < 0.8


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("ensemble", {"members": "ensembles"}, "members must be some of"),
        ("ensemble", {"weights": "1,2"}, "weights must have a number >= 0 for each of the 3 members"),
        ("barrier_distance", {"threshold": "2"}, "threshold must be adaptive, otsu or a number in 0..1"),
        ("manifold_ranking", {"side_px": "8"}, "side_px must be >= 32"),
        ("hierarchy", {"border_max_share": "2"}, "border_max_share must be a share"),
    ],
)
def test_a_parameter_out_of_range_is_one_sentence(name, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_method(name, options=options)
