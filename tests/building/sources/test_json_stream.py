"""Elements of large JSON files: the same as json's own, each where it says it lies, whatever the window."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.building.sources.coco import json_stream
from mcdist.building.sources.coco.json_stream import json_elements, read_element
from mcdist.errors import DataError

SECTIONS = frozenset({"images", "annotations", ""})

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "WINDOW_BYTES", 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("json")


@settings(max_examples=60)
@given(
    content=st.dictionaries(st.sampled_from(["images", "annotations", "others", "info"]), st.lists(VALUES, max_size=4) | VALUES, max_size=4),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_elements_are_those_of_json_and_lie_where_they_say(folder: Path, content: dict, indent: int | None, is_ascii: bool) -> None:
    path = folder / "content.json"
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=is_ascii), encoding="utf-8", errors="surrogatepass")
    found = list(json_elements(path, sections=SECTIONS))
    wanted = [(name, value) for name, values in content.items() if name in SECTIONS and isinstance(values, list) for value in values]
    assert [(element.section, element.value) for element in found] == wanted
    with path.open("rb") as file:
        assert all(read_element(file, offset=element.offset, size=element.size) == element.value for element in found)


def test_a_file_that_is_an_array_has_one_section_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(' [ {"a": 1} , 12345678901234567890, "x" ]\n')
    assert [(element.section, element.value) for element in json_elements(tmp_path / "a.json", sections=SECTIONS)] == [
        ("", {"a": 1}),
        ("", 12345678901234567890),
        ("", "x"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected { or \\["),
        ("hello", "expected { or \\["),
        ('{"images": [', "expecting value"),
        ('{"images": [{"id": 1}', "expected a comma or \\]"),
        ('{"images": [{"id": 1} {"id": 2}]}', "expected a comma or \\]"),
        ('{"images": [1,]}', "expected a value after the comma"),
        ('{"images" []}', 'expected "name":'),
        ("{1: []}", 'expected "name":'),
        ('{"images": []} more', "expected the end of the file"),
        ('{"images": [{"id": 1', "delimiter"),
        ("[" + "[" * 200_000, "nested too deeply"),
        ("[" + "9" * 6000 + "]", "a number is too long"),
    ],
)
def test_what_is_no_json_is_one_sentence_with_its_byte(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=f"bad.json is no JSON that mcdist can read: .*{why}.*, at byte"):
        list(json_elements(tmp_path / "bad.json", sections=SECTIONS))


def test_other_encodings_than_utf8_and_no_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('[{"name": "né"}]'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.json .*expected UTF-8.* at byte 1;"):
        list(json_elements(tmp_path / "latin.json", sections=SECTIONS))
    with pytest.raises(DataError, match=r"none.json, cannot read them \(No such file"):
        list(json_elements(tmp_path / "none.json", sections=SECTIONS))


def test_an_endless_element_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_ELEMENT_BYTES", 1000)
    (tmp_path / "long.json").write_text('[{"a": "' + "x" * 5000)
    with pytest.raises(DataError, match="unterminated string"):
        list(json_elements(tmp_path / "long.json", sections=SECTIONS))
