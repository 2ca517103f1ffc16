"""Each tutorial, done to the letter in an empty folder: its commands work, its code runs, and what it shows is what is printed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.tutorial import DONE, PAGES, SHOWN, VIEW, Block, Reader, agrees, blocks_of, in_order
from tests.makers.chromium import started_chromium

NAMED = ("butterfly", "leaf", "wheel", "kite", "star")
"""What a reader calls the first clusters on the page of `mcdist view`, as own_photos.md says."""

ON_A_CLUSTER = {"slurm.md"}
"""Done by tests/slurm/test_tutorial.py."""


def pages() -> list[Path]:
    return sorted(path for path in PAGES.glob("*.md") if path.stem != "index")


@pytest.mark.parametrize(
    ("language", "shown", "printed", "is_so"),
    [
        ("output", "a 1\nb\n", "a 1\nb\n", True),
        ("output", "a 1\nb\n", "a 2\nb\n", False),
        ("output", "a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("output", "a\nd\n", "a\nb\nd\n", False),
        ("output", "...\nd\n", "d\ne\n", False),
        ("text", "done in 17 min, 3.4 photos/s", "done in 8 s, 12 photos/s", True),
        ("text", "done in 17 min, 3.4 photos/s", "done in 8 s, 12 videos/s", False),
        ("text", "mIoU 58.8 ± 1.2", "mIoU 7 ± 0.1", True),
    ],
)
def test_what_a_page_shows_is_compared(language: str, shown: str, printed: str, is_so: bool) -> None:
    assert agrees(Block(language, shown, 1), printed) == is_so


def test_blocks_are_read_with_their_lines_and_what_is_shown_of_them() -> None:
    found = blocks_of("# T\n\n```sh\necho a\n```\n\n```output\na\n```\n\ntext\n\n```python\nx = 1\n```\n```json\n{}\n```\n")
    assert [(block.language, block.line) for block in found] == [("sh", 3), ("output", 7), ("python", 13)]
    assert [(done.text, shown and shown.text) for done, shown in in_order(found)] == [("echo a\n", "a\n"), ("x = 1\n", None)]


def test_a_reader_notices_what_a_page_has_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    code = "from pathlib import Path\nprint(Path('file').read_text() + 'two')"
    page.write_text(f"```sh\necho one > file; cat file\n```\n```output\none\n```\n```python\n{code}\n```\n```output\none\ntwo\n```\n")
    Reader(tmp_path).do(page)
    page.write_text("```sh\necho one\n```\n\n```output\ntwo\n```\n")
    with pytest.raises(AssertionError, match="page.md:1 printed"):
        Reader(tmp_path).do(page)
    page.write_text("\n```sh\nfalse\necho on\n```\n")
    with pytest.raises(AssertionError, match="page.md:2 failed with 1"):
        Reader(tmp_path).do(page)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_tutorial_is_in_the_toctree_and_the_list_and_shows_what_it_does(page: Path) -> None:
    assert f"tutorials/{page.stem}\n" in (PAGES.parent / "index.md").read_text()
    assert f"({page.name})" in (PAGES / "index.md").read_text()
    languages = [block.language for block in blocks_of(page.read_text())]
    assert len([language for language in languages if language in DONE]) >= 2
    assert len([language for language in languages if language in SHOWN]) >= 2
    assert set(re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE)) <= {*DONE, *SHOWN}, "other blocks would not be tested"


@pytest.fixture
def chromium() -> Iterator[Any]:
    with started_chromium() as browser:
        yield browser


@pytest.fixture
def visitor(request: pytest.FixtureRequest) -> Any:
    """What a reader does on the page of `mcdist view`: names the first clusters with the keyboard. The browser starts when it is needed."""

    def visit(address: str) -> None:
        tab = request.getfixturevalue("chromium").new_page(viewport={"width": 1280, "height": 840})
        tab.set_default_timeout(120_000)
        tab.goto(address)
        tab.wait_for_selector("body[data-ready]")
        for cluster, name in enumerate(NAMED):
            tab.locator(f'.card[data-cluster="{cluster}"]').focus()
            tab.keyboard.press("n")
            tab.keyboard.type(name)
            tab.keyboard.press("Enter")
            tab.wait_for_selector(f'body[data-revision="{cluster + 1}"]')
        tab.close()

    return visit


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in pages() if page.name not in ON_A_CLUSTER], ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path, visitor: Any, request: pytest.FixtureRequest) -> None:
    if any(block.text.startswith(VIEW) for block in blocks_of(page.read_text())):
        request.getfixturevalue("chromium")  # without a browser the page cannot be done at all
    Reader(tmp_path, visit=visitor).do(page)
