"""Tutorial: the fenced blocks of a page of docs/tutorials, done in order in one folder, and what they print held against what the page shows.

sh       commands for bash; a command that fails ends the tutorial. `mcdist view` stays until a visitor has been there
python   code; all blocks of a page are one session
output   exactly what the block before it prints, `...` standing for anything
text     the same but for numbers and their units of time, which differ from machine to machine and from run to run
"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorials"
DONE, SHOWN = ("sh", "python"), ("output", "text")

VIEW = "mcdist view "
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\S+")
_NUMBER = re.compile(r"\d[\d.,:]*(?: (?:s|min|h)\b)?")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that it begins in."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page that are done or compared, in order."""
    fences = [token for token in MarkdownIt().parse(page) if token.type == "fence" and token.map]
    return [Block(token.info.strip(), token.content, token.map[0] + 1) for token in fences if token.map and token.info.strip() in (*DONE, *SHOWN)]


def agrees(shown: Block, printed: str) -> bool:
    """Whether a page shows what was printed; blanks count as one."""
    wanted, got = (" ".join(text.split()) for text in (shown.text, printed))
    if shown.language == "text":
        wanted, got = (_NUMBER.sub("#", text) for text in (wanted, got))
    pattern = ".*".join(re.escape(part.strip()) for part in wanted.split("..."))
    return re.fullmatch(pattern.replace(r"\ ", " *"), got, re.DOTALL) is not None


def in_order(blocks: list[Block]) -> Iterator[tuple[Block, Block | None]]:
    """Each block that is done, and what the page shows of it."""
    for place, block in enumerate(blocks):
        if block.language in DONE:
            after = blocks[place + 1] if place + 1 < len(blocks) else None
            yield block, after if after is not None and after.language in SHOWN else None


@dataclass
class Reader:
    """Somebody who does a tutorial to the letter. `command` is what a command of theirs goes through, `visit` what they do on the page of `mcdist view`."""

    folder: Path
    command: Callable[..., list[str]] = lambda *words: list(words)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    visit: Callable[[str], None] | None = None
    session: dict[str, Any] = field(default_factory=dict)

    def do(self, page: Path) -> None:
        """All of a page. AssertionError names the block's line, what the page shows and what was printed."""
        for block, shown in in_order(blocks_of(page.read_text())):
            printed = self._printed(block, where=f"{page.name}:{block.line}")
            assert shown is None or agrees(shown, printed), f"{page.name}:{block.line} printed\n{printed}\nbut the page shows\n{shown.text}"

    def _printed(self, block: Block, *, where: str) -> str:
        if block.language == "python":
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, where, "exec"), self.session)
            return out.getvalue()
        return self._viewed(block.text) if block.text.startswith(VIEW) else self._run(block.text, where=where)

    def _bash(self, text: str) -> list[str]:
        return self.command("bash", "-e", "-o", "pipefail", "-c", text)

    @property
    def _places(self) -> dict[str, Any]:
        programs = os.pathsep.join([str(Path(sys.executable).parent), self.environment.get("PATH", "")])
        return {"cwd": self.folder, "env": self.environment | {"PATH": programs, "PYTHONPATH": str(ROOT)}, "stdin": subprocess.DEVNULL}

    def _run(self, text: str, *, where: str) -> str:
        done = subprocess.run(self._bash(text), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **self._places)
        assert done.returncode == 0, f"{where} failed with {done.returncode}:\n{text}\n{done.stdout}"
        return done.stdout

    def _viewed(self, text: str) -> str:
        """The page is open until the visitor leaves; then Ctrl-C."""
        assert self.visit is not None, "nobody visits the page of mcdist view"
        serving = subprocess.Popen(self._bash(f"exec {text}"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, **self._places)
        assert serving.stdout is not None
        try:
            lines: list[str] = []
            for line in serving.stdout:
                lines.append(line)
                if found := _ADDRESS.search(line):
                    self.visit(found.group())
                    break
            serving.send_signal(signal.SIGINT)
            rest, _ = serving.communicate(timeout=120)
        finally:
            serving.kill()
        return "".join(lines) + rest
