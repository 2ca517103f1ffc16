"""JSON of files: values, or a ValueError."""

import pytest

from mcdist.json_text import parse_json


def test_values_are_those_of_json() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, "\xc3\xbc"]}') == {"a": [1, 2.5, None, "ü"]}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", "[" * 100_000, '{"a":' * 100_000, "9" * 5_000])
def test_everything_else_is_a_value_error(content: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)
