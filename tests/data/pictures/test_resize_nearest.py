import numpy

from mcdist.data.pictures.resize import resize_nearest


def test_nearest_takes_the_value_under_each_pixels_centre() -> None:
    values = numpy.arange(12).reshape(3, 4)
    assert resize_nearest(values, height=6, width=8).tolist() == values.repeat(2, axis=0).repeat(2, axis=1).tolist()
    assert resize_nearest(values, height=1, width=2).tolist() == [[5, 7]]
    assert resize_nearest(values, height=3, width=4).tolist() == values.tolist()
