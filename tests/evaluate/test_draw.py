from hypothesis import given
from hypothesis import strategies as st

from mcdist.evaluate.draw import even_places


@given(st.integers(0, 300), st.integers(0, 12))
def test_places_are_in_order_and_as_many_as_wanted(num_photos: int, num_wanted: int) -> None:
    places = even_places(num_photos, num_wanted=num_wanted)
    assert places == sorted(set(places)) and len(places) == min(num_photos, num_wanted)
    assert all(0 <= place < num_photos for place in places)


def test_places_are_spread_evenly() -> None:
    assert even_places(12, num_wanted=3) == [0, 4, 10]
    assert even_places(1449, num_wanted=4) == [0, 512, 768, 1280]
