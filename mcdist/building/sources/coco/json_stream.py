"""The elements of large JSON arrays, one after another, each with its place in the file: COCO's files are their own databases.

Nothing but a window of the file is ever in memory. Bytes are looked at as Latin-1 text, so that a position in the text is a position in the file.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mcdist.errors import DataError
from mcdist.json_text import parse_json

WINDOW_BYTES = 1 << 20
MAX_ELEMENT_BYTES = 64 << 20
"""An annotation larger than this is none: what is there is not COCO's, or the file is cut."""

MARGIN_BYTES = 64
"""A value that ends this close to the window's end may continue behind it, as a number does."""

SPACE = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()


class Element(NamedTuple):
    """One element of a top-level array: the array's name ("" where the file itself is an array), where it is, and its value."""

    section: str
    offset: int
    size: int
    value: Any


def json_elements(path: Path, *, sections: frozenset[str]) -> Iterator[Element]:
    """Elements of the named arrays of the object in `path`, or of the array that it is, in file order; everything else is read past.

    Raises:
        DataError: no such file, or at some byte it is no JSON.
    """
    try:
        with path.open("rb") as file:
            yield from _Reader(file, path=path).elements(sections)
    except OSError as error:
        raise DataError(f"expected annotations (JSON) at {path}, cannot read them ({error.strerror}); check the path") from error


def read_element(file: BinaryIO, *, offset: int, size: int) -> Any:
    """The value of an element found earlier; ValueError where other bytes are there now."""
    file.seek(offset)
    return parse_json(file.read(size))


class _Reader:
    """A window that moves over the file: `text[at]` is byte `base + at`."""

    def __init__(self, file: BinaryIO, *, path: Path) -> None:
        self.file, self.path = file, path
        self.text, self.base, self.at, self.is_end = "", 0, 0, False

    def elements(self, sections: frozenset[str]) -> Iterator[Element]:
        first = self.peek()
        if first == "[":
            yield from self.array("")
        elif first == "{":
            yield from self.members(sections)
        else:
            raise self.wrong("expected { or [")
        if self.peek():
            raise self.wrong("expected the end of the file")

    def members(self, sections: frozenset[str]) -> Iterator[Element]:
        self.at += 1
        while self.peek() != "}":
            key, _, _ = self.value()
            if not isinstance(key, str) or self.peek() != ":":
                raise self.wrong('expected "name":')
            self.at += 1
            if self.peek() == "[":
                # Other arrays are read past element by element: they may be as large as ours.
                yield from (element for element in self.array(key) if key in sections)
            else:
                self.value()
            self.comma("}")
        self.at += 1

    def array(self, section: str) -> Iterator[Element]:
        self.at += 1
        while self.peek() != "]":
            value, offset, size = self.value()
            yield Element(section, offset, size, value)
            self.comma("]")
        self.at += 1

    def comma(self, closing: str) -> None:
        found = self.peek()
        if found == ",":
            self.at += 1
            if self.peek() == closing:
                raise self.wrong("expected a value after the comma")
        elif found != closing:
            raise self.wrong(f"expected a comma or {closing}")

    def value(self) -> tuple[Any, int, int]:
        """The value that begins here, its offset and its size in bytes; the window grows until it holds all of it."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
                if self.is_end or end <= len(self.text) - MARGIN_BYTES:
                    break
            except json.JSONDecodeError as error:
                if self.is_end or len(self.text) - self.at > MAX_ELEMENT_BYTES:
                    raise self.wrong(f"{error.msg[:1].lower()}{error.msg[1:]}", at=error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.wrong("values are nested too deeply, or a number is too long") from error
            self.grow()
        offset, raw = self.base + self.at, self.text[self.at : end]
        if not raw.isascii():
            try:
                value = parse_json(raw.encode("latin-1").decode())
            except ValueError as error:
                raise self.wrong("expected UTF-8") from error
        self.at = end
        return value, offset, len(raw)

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            found = SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text) or self.is_end:
                return self.text[self.at : self.at + 1]
            self.grow()

    def grow(self) -> None:
        """Forget what is behind and read on; each call at least doubles what is held, so that a large element costs no square of its size."""
        kept = self.text[self.at :]
        more = self.file.read(max(WINDOW_BYTES, len(kept)))
        self.text, self.base, self.at = kept + more.decode("latin-1"), self.base + self.at, 0
        self.is_end = not more

    def wrong(self, why: str, *, at: int | None = None) -> DataError:
        place = self.base + (self.at if at is None else at)
        return DataError(f"{self.path} is no JSON that mcdist can read: {why}, at byte {place:,}; download or write it again")
