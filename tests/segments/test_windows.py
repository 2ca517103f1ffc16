"""Windows: they cover a large photo, and what they show of one place is laid over each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mcdist.segments.windows import Canvas, canvas_size, places

SIDE, STRIDE = 64, 8
LENGTHS = st.integers(SIDE // STRIDE, 60).map(lambda cells: STRIDE * cells)


@given(LENGTHS, LENGTHS)
def test_windows_cover_the_canvas_on_the_grid_and_overlap_by_half(height: int, width: int) -> None:
    found = places(height, width=width, side=SIDE, stride=STRIDE)
    for along, length in ((0, height), (1, width)):
        begins = sorted({place[along] for place in found})
        assert begins[0] == 0 and begins[-1] == length - SIDE and all(begin % STRIDE == 0 for begin in begins)
        assert all(later - begin <= SIDE // 2 + STRIDE for begin, later in zip(begins, begins[1:], strict=False))
    assert len(found) == len(set(found))


@given(LENGTHS, LENGTHS)
def test_a_map_cut_into_windows_is_itself_again(height: int, width: int) -> None:
    features = torch.rand(3, height // STRIDE, width // STRIDE)
    found, cells = places(height, width=width, side=SIDE, stride=STRIDE), SIDE // STRIDE
    cut = torch.stack([features[:, top // STRIDE :][:, :cells, left // STRIDE : left // STRIDE + cells] for top, left in found])
    canvas = Canvas(height, width=width, side=SIDE, stride=STRIDE, device=torch.device("cpu"))
    canvas.add(cut, logits=cut[:, 0], places=found)
    merged, logits = canvas.mean()
    assert torch.allclose(merged[0], features, atol=1e-6) and torch.allclose(logits[0], features[0], atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "window_px", "expected"),
    [
        (480, 640, 0, None),
        (480, 640, 640, None),
        (480, 640, 320, (96, 128)),
        (100, 640, 320, (64, 408)),
        (20, 1000, 32, (64, 3200)),
    ],
)
def test_so_many_pixels_of_the_photo_become_a_window(height: int, width: int, window_px: int, expected: tuple[int, int] | None) -> None:
    assert canvas_size(height, width=width, window_px=window_px, side=SIDE, stride=STRIDE) == expected
