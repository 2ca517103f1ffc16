import numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from mcdist.data.views.crop import choose_shrink, cut_map, cut_photo, on_grid, shrunk
from mcdist.data.views.draw import Geometry

SIDES = st.integers(1, 60)


@st.composite
def crops(draw) -> tuple[int, int, Geometry]:
    """Height and width of a photo, and a crop in it."""
    height, width = draw(SIDES), draw(SIDES)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return height, width, Geometry(top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)), draw(st.booleans()))


@given(crops(), st.integers(8, 30))
def test_a_photo_is_cut_as_torchvision_cuts_it_whatever_its_memory_order(crop, size_px):
    height, width, geometry = crop
    planes = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(height))
    wanted = functional.resized_crop(planes, geometry.top, geometry.left, geometry.height, geometry.width, [size_px, size_px], antialias=True)
    wanted = functional.horizontal_flip(wanted) if geometry.flip else wanted
    beside = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for photo in (planes, beside):
        view = cut_photo(photo, geometry=geometry, size_px=size_px)
        assert (view.int() - wanted.int()).abs().max() <= 1
    if min(geometry.height, geometry.width) > 1:  # of a single pixel both memory orders are the same
        assert view.permute(1, 2, 0).is_contiguous()


@given(crops(), st.integers(1, 30))
def test_a_map_is_cut_at_the_nearest_pixel_centres(crop, size_px):
    height, width, geometry = crop
    values = numpy.random.default_rng(height).integers(0, 256, (height, width), dtype=numpy.uint8)
    cropped = torch.from_numpy(values)[geometry.top :, geometry.left :][: geometry.height, : geometry.width]
    wanted = torch.nn.functional.interpolate(cropped[None, None], size=(size_px, size_px), mode="nearest-exact")[0, 0]
    wanted = wanted.flip(-1) if geometry.flip else wanted
    view = cut_map(values, geometry=geometry, size_px=size_px)
    assert (torch.from_numpy(view.copy()) == wanted).float().mean() > 0.8  # float32 centres there, float64 here: ties may fall the other way
    if geometry.height % size_px == 0 and geometry.width % size_px == 0:
        assert torch.equal(torch.from_numpy(view.copy()), wanted)


@given(crops(), st.sampled_from([2, 4, 8]))
def test_a_crop_moved_on_the_grid_stays_inside_and_near(crop, shrink):
    height, width, geometry = crop
    moved = on_grid(geometry, shrink=shrink, height=height, width=width)
    assert all(side % shrink == 0 for side in (moved.top, moved.left, moved.height, moved.width))
    assert moved.top + moved.height <= height
    assert moved.left + moved.width <= width
    assert max(abs(moved.top - geometry.top), abs(moved.left - geometry.left)) <= shrink / 2
    assert abs(moved.top + moved.height - geometry.top - geometry.height) <= shrink
    assert shrunk(moved, shrink=shrink).height * shrink == moved.height


def test_a_photo_shrinks_only_while_both_crops_keep_a_pixel_for_each_pixel_of_their_views():
    def crop(side: int) -> Geometry:
        return Geometry(3, 5, side, side + 10, flip=False)

    assert choose_shrink(crop(500), crop(500), size_px=224) == 2
    assert choose_shrink(crop(500), crop(400), size_px=224) == 1
    assert choose_shrink(crop(4000), crop(1000), size_px=224) == 4
    assert choose_shrink(crop(4000), crop(4000), size_px=224) == 8
    for side in range(450, 2200, 7):
        geometry = crop(side)
        shrink = choose_shrink(geometry, geometry, size_px=224)
        if shrink > 1:
            small = shrunk(on_grid(geometry, shrink=shrink, height=4000, width=4000), shrink=shrink)
            assert min(small.height, small.width) >= 224
