"""Cut-outs of objects: squares of the size asked for, whatever the box and the photo."""

import numpy
import pytest

from mcdist.report.pictures.cut_out import Box, cut_out


@pytest.mark.parametrize("shape", [(128, 128, 3), (40, 90, 3)])
@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.9, 0.9, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5), (0.0, 0.2, 0.1, 0.9)])
def test_a_cut_out_is_a_square_around_the_object(shape: tuple[int, int, int], box: Box) -> None:
    photo = numpy.zeros(shape, dtype=numpy.uint8)
    top, left, bottom, right = (round(share * side) for share, side in zip(box, (shape[0], shape[1]) * 2, strict=True))
    photo[top : bottom + 1, left : right + 1] = 255
    picture = cut_out((photo, box), side_px=32)
    assert picture.size == (32, 32)
    assert numpy.asarray(picture).max() > 200
