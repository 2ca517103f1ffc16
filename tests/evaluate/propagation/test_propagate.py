"""Label propagation: what the published formula gives, written densely; and that memory, borders and lost objects follow stated rules."""

import pytest
import torch

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.propagation.propagate import Propagation, hard_labels, propagate, soft_labels, steady_labels
from mcdist.evaluate.propagation.settings import PropagationSettings, frame_size, propagation_settings
from mcdist.evaluate.propagation.windows import windows_of


def video(num_frames: int, *, height: int = 11, width: int = 14, dims: int = 6, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(dims, height, width, generator=generator) for _ in range(num_frames)]


def start(*, height: int = 11, width: int = 14, channels: int = 3) -> torch.Tensor:
    numbers = torch.randint(0, channels, (height, width), generator=torch.Generator().manual_seed(9))
    return torch.nn.functional.one_hot(numbers, channels).permute(2, 0, 1).float()


def dense(frames: list[torch.Tensor], labels: torch.Tensor, *, settings: PropagationSettings) -> list[torch.Tensor]:
    """All cells with all cells: exp(cosine / temperature) times the neighbourhood, the largest kept, normalised to sum 1."""
    _, height, width = frames[0].shape
    rows, columns = (one.flatten() for one in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    down, across = (rows[:, None] - rows).abs(), (columns[:, None] - columns).abs()
    near = torch.maximum(down, across) <= settings.radius if settings.shape == "square" else down**2 + across**2 <= settings.radius**2
    unit = [(frame / frame.norm(dim=0)).flatten(1) for frame in frames]
    found = [labels]
    for place in range(1, len(frames)):
        context = sorted({0, *range(max(1, place - settings.num_last), place)})
        affinity = torch.cat([(unit[place].T @ unit[one] / settings.temperature).exp() * near for one in context], dim=1)
        least = affinity.topk(settings.num_nearest, dim=1).values[:, -1:]
        kept = torch.where(affinity >= least, affinity, 0)
        kept = kept / kept.sum(dim=1, keepdim=True)
        found.append((kept @ torch.cat([found[one].flatten(1) for one in context], dim=1).T).T.view_as(labels))
    return found


@pytest.mark.parametrize("settings", [PropagationSettings(radius=3), PropagationSettings(radius=4, shape="circle", temperature=0.2, num_last=2)])
def test_it_is_the_published_formula_without_its_cost(settings):
    frames = video(12)
    for found, expected in zip(propagate(frames, labels=start(), settings=settings), dense(frames, start(), settings=settings), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", ["square", "circle"])
@pytest.mark.parametrize(("height", "width", "tile"), [(11, 14, 4), (3, 20, 8), (1, 1, 8)])
def test_windows_hold_every_cell_once_and_all_it_may_look_at(height, width, tile, shape):
    seen = torch.zeros(height, width)
    num_pairs = 0
    for window in windows_of(height, width, radius=2, shape=shape, tile=tile):
        seen[window.rows, window.columns] += 1
        num_pairs += int(window.allowed.sum())
    assert bool((seen == 1).all())
    rows, columns = (one.flatten() for one in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    down, across = (rows[:, None] - rows).abs(), (columns[:, None] - columns).abs()
    near = torch.maximum(down, across) <= 2 if shape == "square" else down**2 + across**2 <= 4
    assert num_pairs == int(near.sum())


def test_a_still_video_keeps_its_labels():
    frame = video(1, dims=64)[0]
    *_, last = propagate([frame] * 10, labels=start())
    assert bool((last.argmax(dim=0) == start().argmax(dim=0)).all())


def test_an_object_that_moves_is_followed_as_far_as_the_neighbourhood():
    """Every cell has a feature of its own, which moves two cells to the right; with a radius of 1 no cell can see where it came from."""
    torch.manual_seed(0)
    frame = torch.randn(64, 8, 16)
    moved = frame.roll(2, dims=2)
    labels = torch.stack([torch.ones(8, 16), torch.zeros(8, 16)])
    labels[:, 2:6, 3:7] = torch.tensor([0.0, 1.0])[:, None, None]
    _, near = propagate([frame, moved], labels=labels, settings=PropagationSettings(radius=3, num_nearest=1))
    _, blind = propagate([frame, moved], labels=labels, settings=PropagationSettings(radius=1, num_nearest=1))
    assert bool((near[:, :, 2:].argmax(dim=0) == labels.roll(2, dims=2)[:, :, 2:].argmax(dim=0)).all())
    assert not bool((blind.argmax(dim=0) == labels.roll(2, dims=2).argmax(dim=0)).all())


def test_the_context_is_the_first_frame_and_the_last_ones_however_long_the_video():
    propagation = Propagation(settings=PropagationSettings(num_last=3, radius=2))
    frames = video(30)
    propagation.begin(frames[0], labels=start())
    for frame in frames[1:]:
        propagation.add(frame, labels=propagation.labels_of(frame))
    assert len(propagation._features) == len(propagation._labels) == 4
    torch.testing.assert_close(propagation._features[0], torch.nn.functional.normalize(frames[0], dim=0).permute(1, 2, 0))
    torch.testing.assert_close(propagation._features[-1], torch.nn.functional.normalize(frames[-1], dim=0).permute(1, 2, 0))


def test_frames_are_taken_one_by_one():
    taken: list[int] = []

    def frames():
        for frame in video(5):
            taken.append(len(taken))
            yield frame

    found = propagate(frames(), labels=start())
    next(found), next(found)
    assert len(taken) == 2


def test_labels_do_not_flicker():
    """A still video whose own labels are wrong in every third frame."""
    frame, right = video(1, dims=64)[0], start(channels=2)
    own = [1 - right if place % 3 == 2 else right for place in range(9)]
    steady = list(steady_labels(((frame, one) for one in own), memory=0.7))
    assert all(bool((one.argmax(dim=0) == right.argmax(dim=0)).all()) for one in steady)
    assert [bool((one == other).all()) for one, other in zip(steady_labels([(frame, one) for one in own], memory=0.0), own, strict=True)] == [True] * 9
    with pytest.raises(ValueError, match=r"within 0..1, got 1.5"):
        next(steady_labels([], memory=1.5))


def test_soft_and_hard_labels_are_inverse_on_large_objects():
    numbers = torch.zeros(64, 96, dtype=torch.long)
    numbers[16:48, 16:48], numbers[8:40, 64:88], numbers[0, 0] = 1, 2, 255
    soft = soft_labels(numbers, num_objects=2, height=8, width=12)
    assert soft.sum() == 8 * 12
    hard = hard_labels(soft, upsampled=(64, 96), size=(64, 96))
    assert (hard == torch.where(numbers == 255, 0, numbers)).float().mean() > 0.95


def test_an_object_that_left_no_label_is_found_nowhere():
    soft = torch.stack([torch.rand(4, 5) + 0.1, torch.zeros(4, 5)])
    assert not bool(hard_labels(soft, upsampled=(8, 10), size=(16, 20)).any())
    even = torch.stack([torch.ones(4, 5), torch.zeros(4, 5)])
    assert not bool(hard_labels(even, upsampled=(8, 10), size=(16, 20)).any())


def test_other_sizes_and_features_that_are_not_finite_are_one_sentence():
    propagation = Propagation(settings=PropagationSettings())
    propagation.begin(video(1)[0], labels=start())
    with pytest.raises(DataError, match="the first gave features of 14 x 11, this one 9 x 11"):
        propagation.labels_of(video(1, width=9)[0])
    with pytest.raises(DataError, match="must be finite, they are not"):
        propagation.labels_of(video(1)[0] * torch.nan)
    with pytest.raises(DataError, match="on the grid of the features, 14 x 11, got 9 x 11"):
        propagation.add(video(1)[0], labels=start(width=9))


@pytest.mark.parametrize(
    ("protocol", "stride", "size", "expected"),
    [
        ("davis-propagation", 8, (480, 854), (480, 832)),
        ("davis-propagation", 16, (854, 480), (832, 480)),
        ("davis-propagation", 14, (480, 854), (476, 854)),
        ("davis-propagation", 8, (480, 480), (480, 480)),
        ("davis-propagation/dinov3", 16, (480, 854), (960, 1712)),
    ],
)
def test_frames_are_scaled_as_published(protocol, stride, size, expected):
    assert frame_size(*size, settings=propagation_settings(protocol), stride=stride) == expected


def test_an_unknown_protocol_is_one_sentence():
    with pytest.raises(ConfigError, match="unknown protocol 'davis-propagate' for videos; did you mean 'davis-propagation'"):
        propagation_settings("davis-propagate")
