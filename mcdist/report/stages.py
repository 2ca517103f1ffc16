"""Stages: one line as each stage of a long command begins, and one when it has ended; the stage's own bar is between them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.text import Text

from mcdist.report.console import plain_or_rich, printable


class Stages:
    """The stages of a command, by their names in order."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """Nothing is shown yet."""
        self._names = names
        self._expected_s: dict[str, float] = {}
        self._console = plain_or_rich(None)

    def expect(self, seconds: dict[str, float]) -> None:
        """How long stages will take, as far as that is known."""
        self._expected_s = seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage from its beginning to its end; an error ends it without a word."""
        number = self._names.index(name) + 1
        expected = f"   about {spoken(self._expected_s[name])}" if name in self._expected_s else ""
        self._say(f"[{number}/{len(self._names)}] {name}{expected}", style="bold cyan")
        began_s = time.monotonic()
        yield
        self._say(f"      {name}: done in {spoken(time.monotonic() - began_s)}", style="green")

    def stands(self, name: str) -> None:
        """A stage that was done by an earlier start."""
        self._say(f"[{self._names.index(name) + 1}/{len(self._names)}] {name}   stands", style="bright_black")

    def say(self, text: str) -> None:
        """A line between two stages."""
        self._say(text, style="")

    def _say(self, text: str, *, style: str) -> None:
        self._console.print(Text(printable(text), style=style), soft_wrap=True)
        self._console.file.flush()


def spoken(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
