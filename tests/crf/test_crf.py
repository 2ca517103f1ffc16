"""The field: what its definition gives on small photos, what pydensecrf2 gives on larger ones, and the rules at its borders."""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from mcdist.crf.lattice import PermutohedralLattice
from mcdist.crf.mean_field import crf
from mcdist.crf.settings import CrfSettings
from mcdist.errors import ConfigError, DataError


def scene(*, height: int = 24, width: int = 30, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy two-coloured photo, and rough log-probabilities of background and two labels."""
    generator = torch.Generator().manual_seed(seed)
    photo = torch.full((3, height, width), 60.0)
    photo[:, 6:18, 8:22] = torch.tensor([200.0, 90.0, 40.0])[:, None, None]
    photo = (photo + 2 * torch.randn(photo.shape, generator=generator)).clamp(0, 255).byte()
    inside = torch.zeros(height, width)
    inside[7:19, 7:21] = 1
    probability = torch.stack([1 - 0.85 * inside, 0.7 * inside + 0.05, 0.1 * inside + 0.05])
    return probability.log()[None], photo[None]


def exact(unary: torch.Tensor, photo: torch.Tensor, *, settings: CrfSettings) -> torch.Tensor:
    """Mean field with every pair of pixels, in float64, as the paper writes it."""
    num_labels, height, width = unary.shape
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), dim=-1).view(-1, 2).double()
    colours = photo.double().flatten(1).T
    kernels = []
    for weight, points in (
        (settings.near_weight, places / settings.near_px),
        (settings.alike_weight, torch.cat([places / settings.alike_px, colours / settings.alike_colour], dim=1)),
    ):
        kernel = torch.exp(-(torch.cdist(points, points) ** 2) / 2)
        norm = kernel.sum(dim=1).rsqrt()
        kernels.append(weight * norm[:, None] * kernel * norm)
    energy = settings.alpha * unary.double().flatten(1).T
    found = energy.softmax(dim=1)
    for _ in range(settings.iterations):
        found = (energy + sum(kernel @ found for kernel in kernels)).softmax(dim=1)
    return found.T.view(num_labels, height, width)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_it_is_mean_field_with_every_pair_of_pixels(alpha):
    unary, photo = scene()
    settings = CrfSettings(alpha=alpha)
    found, expected = crf(unary, photos=photo, settings=settings)[0], exact(unary[0], photo[0], settings=settings)
    assert (found.argmax(dim=0) == expected.argmax(dim=0)).float().mean() > 0.99
    assert (found - expected).abs().mean() < 0.02


def test_without_the_lattice_it_is_exact():
    unary, photo = scene()
    settings = CrfSettings(alike_weight=0.0)
    torch.testing.assert_close(crf(unary, photos=photo, settings=settings)[0].double(), exact(unary[0], photo[0], settings=settings), atol=1e-4, rtol=1e-4)


def test_the_edge_moves_to_the_photos():
    unary, photo = scene()
    truth = torch.zeros(24, 30, dtype=torch.bool)
    truth[6:18, 8:22] = True
    wrong = [(one.argmax(dim=0) > 0) ^ truth for one in (unary[0], crf(unary, photos=photo)[0])]
    assert wrong[1].sum() < 0.5 * wrong[0].sum()


def test_a_batch_is_its_photos_one_by_one(monkeypatch):
    pairs = [scene(seed=seed) for seed in range(3)]
    unary, photos = (torch.cat(one) for one in zip(*pairs, strict=True))
    alone = torch.cat([crf(one, photos=photo) for one, photo in pairs])
    torch.testing.assert_close(crf(unary, photos=photos), alone)
    monkeypatch.setattr("mcdist.crf.mean_field._POINTS_AT_ONCE", {"cpu": 2 * 24 * 30})
    torch.testing.assert_close(crf(unary, photos=photos), alone, atol=1e-5, rtol=1e-4)


def test_probabilities_sum_to_one_and_constants_do_not_matter():
    unary, photo = scene()
    found = crf(unary, photos=photo)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(1, 24, 30))
    torch.testing.assert_close(crf(unary + 7, photos=photo), found, atol=1e-5, rtol=1e-4)


def test_with_no_iteration_it_is_what_came_in():
    unary, photo = scene()
    torch.testing.assert_close(crf(unary, photos=photo, settings=CrfSettings(iterations=0, alpha=2.0)), (2 * unary).softmax(dim=1))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_a_photo_of_any_shape_is_taken(size):
    found = crf(torch.zeros(1, 2, *size), photos=torch.zeros(1, 3, *size, dtype=torch.uint8))
    torch.testing.assert_close(found, torch.full((1, 2, *size), 0.5))


def test_no_photo_is_no_photo():
    assert crf(torch.zeros(0, 2, 4, 4), photos=torch.zeros(0, 3, 4, 4, dtype=torch.uint8)).shape == (0, 2, 4, 4)


def test_what_has_no_meaning_is_refused():
    _, photo = scene()
    with pytest.raises(ValueError, match="two labels or more, got 1"):
        crf(torch.zeros(1, 1, 24, 30), photos=photo)
    with pytest.raises(ValueError, match="must be finite"):
        crf(torch.full((1, 2, 24, 30), -torch.inf), photos=photo)
    with pytest.raises(ConfigError, match="alike_px of the CRF must be above 0, got 0.0"):
        CrfSettings(alike_px=0.0)
    with pytest.raises(ConfigError, match="iterations of the CRF must be at least 0, got -1"):
        CrfSettings(iterations=-1)


@pytest.mark.parametrize("num_axes", [1, 2, 3, 5])
def test_the_lattice_sums_like_a_gaussian(num_axes):
    """Up to a factor, which normalised kernels lose, and up to its own approximation, which grows with the number of axes."""
    points = 2 * torch.randn(400, num_axes, generator=torch.Generator().manual_seed(num_axes))
    values = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.exp(-(torch.cdist(points, points) ** 2) / 2) @ values
    found = PermutohedralLattice(points).filter(values)
    assert numpy.corrcoef(found.flatten().numpy(), expected.flatten().numpy())[0, 1] > (0.99 if num_axes < 3 else 0.9)


def test_the_lattice_is_linear_and_keeps_sets_apart():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    values = torch.rand(100, 2, generator=torch.Generator().manual_seed(1))
    together = PermutohedralLattice(torch.cat([points, points]), num_sets=2).filter(values)
    apart = [PermutohedralLattice(points).filter(one) for one in values.split(50)]
    torch.testing.assert_close(together, torch.cat(apart))
    torch.testing.assert_close(PermutohedralLattice(points).filter(2 * values[:50]), 2 * apart[0])


def test_points_that_cannot_be_numbered_are_one_sentence():
    with pytest.raises(DataError, match="more than 64 bits can number; use larger standard deviations"):
        PermutohedralLattice(1e6 * torch.randn(10, 5, generator=torch.Generator().manual_seed(0)))


def test_pydensecrf_gives_the_same_segments_on_photos(shared_data):
    """The reference is a test-only dependency; 99 % of the pixels of each photo must have the same label."""
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    folder = shared_data / "msrc_v2"
    for place, path in enumerate(sorted((folder / "images").glob("*.jpg"))[::200]):
        photo = numpy.array(Image.open(path).convert("RGB"))
        unary = _rough(folder / "saliency_supervised" / f"{path.stem}.png", num_labels=(2, 5, 3)[place % 3])
        found = crf(torch.from_numpy(unary)[None], photos=torch.from_numpy(photo.transpose(2, 0, 1).copy())[None])[0].numpy()
        num_labels, height, width = unary.shape
        field = densecrf.DenseCRF2D(width, height, num_labels)
        field.setUnaryEnergy(numpy.ascontiguousarray(-unary.reshape(num_labels, -1)))
        field.addPairwiseGaussian(sxy=1, compat=3)
        field.addPairwiseBilateral(sxy=67, srgb=3, rgbim=photo, compat=4)
        expected = numpy.array(field.inference(10)).reshape(unary.shape)
        assert (expected.argmax(axis=0) != unary.argmax(axis=0)).mean() > 0.002
        assert (found.argmax(axis=0) == expected.argmax(axis=0)).mean() > 0.99


def _rough(path: Path, *, num_labels: int) -> numpy.ndarray:
    """Log-probabilities of a mask that was shrunk and enlarged again, the object shared out among the labels but the first."""
    mask = Image.open(path).convert("L")
    soft = numpy.asarray(mask.resize((mask.width // 10, mask.height // 10), Image.Resampling.BOX).resize(mask.size, Image.Resampling.BICUBIC))
    inside = (soft / 255).clip(0.02, 0.98).astype(numpy.float32)
    shares = numpy.random.default_rng(0).dirichlet(numpy.ones(num_labels - 1), size=(7, 7)).astype(numpy.float32)
    rows, columns = (numpy.linspace(0, 6, size).round().astype(int) for size in inside.shape)
    parts = shares[rows[:, None], columns].transpose(2, 0, 1)
    return numpy.log(numpy.concatenate([(1 - inside)[None], inside * parts]) + 1e-3)
