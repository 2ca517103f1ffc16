"""The console of a run: on a terminal a live bar with what matters, in a log file one plain line an interval."""

import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import TextIO

import rich.console
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mcdist.choices import ConsoleMode, require_choice
from mcdist.errors import MachineError
from mcdist.records import Record
from mcdist.run_dir import open_in_place

_LINE_WIDTH = 200
_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_LENGTH = 24
_MAX_UNLOGGED = 1000
_SMOOTHING = 0.3
"""Weight of the newest images_per_s in the one that the ETA uses."""


class Console:
    """What a person sees of a run. `auto`: live on a terminal, plain lines elsewhere; `off`: warnings only. Use as a context."""

    def __init__(self, *, mode: ConsoleMode, total_steps: int, samples_per_step: int, file: TextIOWrapper | StringIO | None = None, noun: str = "step") -> None:
        """Nothing is shown yet. `samples_per_step` is the global batch; `file` is standard output; `noun` is what is counted.

        Raises:
            ConfigError: an unknown mode.
        """
        require_choice("report.console", mode, choices=ConsoleMode)
        self._mode, self._total_steps, self._samples_per_step = mode, total_steps, samples_per_step
        self._rich, self._noun = plain_or_rich(file), noun
        self._log: TextIO | None = None
        self._unlogged: deque[str] = deque(maxlen=_MAX_UNLOGGED)
        self._values: dict[str, float] = {}
        self._step = 0
        self._images_per_s = math.nan
        self._losses: list[float] = []
        self._live: Live | None = None

    @property
    def is_live(self) -> bool:
        """Whether `update` redraws a terminal, which costs little, rather than print a line."""
        return self._live is not None

    def __enter__(self) -> "Console":
        """Start the live line where there is a terminal."""
        if self._mode == "auto" and self._rich.is_terminal:
            self._live = Live(self, console=self._rich, auto_refresh=False)  # no thread: data workers may be forked
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def open_log(self, path: Path, *, folder: Path | None = None) -> None:
        """From now on `path` also gets what `say` and `warn` say, and first what they said before.

        It is a new file each time, with the earlier content, made in `folder` (of the same disk) where one is given: whoever still has the
        earlier file open no longer writes to this one.

        Raises:
            MachineError: the file cannot be written.
        """
        try:
            self._log = open_in_place(path, path.read_bytes() if path.exists() else b"", folder=folder)
            self._log.writelines(self._unlogged)
            self._log.flush()
        except OSError as error:
            raise MachineError(f"cannot write the log {path}: {error.strerror}; free some space or choose another run.dir") from error
        self._unlogged.clear()

    @contextmanager
    def counting(self, noun: str, *, total: int) -> Iterator[None]:
        """Until the block ends the bar counts `total` of these, each an image, in place of steps."""
        before = (self._noun, self._total_steps, self._samples_per_step)
        self._noun, self._total_steps, self._samples_per_step = noun, total, 1
        try:
            yield
        finally:
            self._noun, self._total_steps, self._samples_per_step = before
            self._step, self._values, self._losses, self._images_per_s = 0, {}, [], math.nan

    def header(self, title: str, *, facts: dict[str, str]) -> None:
        """A small panel at the start: model, data, device, ranks, steps."""
        if self._mode == "off":
            return
        if not self._rich.is_terminal:
            self._line("  ".join([title, *(f"{name}: {value}" for name, value in facts.items())]))
            return
        grid = Table.grid(padding=(0, 2))
        for name, value in facts.items():
            grid.add_row(Text(name, style="bright_black"), Text(value))
        self._rich.print(Panel(grid, title=Text(title, style="bold cyan"), title_align="left", border_style="bright_black", padding=(0, 2), expand=False))

    def update(self, records: Iterable[Record]) -> None:
        """Take the newest records (one interval's); unknown names are ignored."""
        for record in records:
            self._step = max(self._step, record.step)
            self._values[record.name] = record.value
            if record.name == "loss" and math.isfinite(record.value):
                self._losses = [*self._losses[1 - _SPARK_LENGTH :], record.value]
            if record.name == "images_per_s" and math.isfinite(record.value):
                before = record.value if math.isnan(self._images_per_s) else self._images_per_s
                self._images_per_s = _SMOOTHING * record.value + (1 - _SMOOTHING) * before
        if self._live is not None:
            self._live.refresh()
        elif self._mode == "auto" and not self._rich.is_terminal:
            self._line("  ".join([self._progress_text(), *(f"{name} {value}" for name, value in self._readings()), f"ETA {self._eta_text()}"]))

    def say(self, text: str) -> None:
        """A notice, above the live line and in the log. Control characters in it (a file's odd name) are shown as a replacement sign."""
        text = printable(text)
        self._note(text)
        if self._mode == "off":
            return
        if self._rich.is_terminal:
            self._rich.print(Text("• ", style="cyan") + Text(text))
        else:
            self._line(text)

    def warn(self, text: str) -> None:
        """A warning; shown in every mode (`off`: on standard error). Control characters as in `say`."""
        text = printable(text)
        self._note(f"warning: {text}")
        if self._mode == "off":
            print(f"warning: {text}", file=sys.stderr, flush=True)
        elif self._rich.is_terminal:
            self._rich.print(Text("▲ ", style="yellow") + Text(text, style="yellow"))
        else:
            self._line(f"warning: {text}")

    def print_table(self, renderable: RenderableType) -> None:
        """Print any rich renderable, such as `evaluation_table`'s."""
        if self._mode == "auto":
            self._rich.print(renderable)

    def __rich__(self) -> RenderableType:
        """The live lines: bar, step, epoch and ETA; below it the readings."""
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=max(1, self._total_steps), completed=self._step, width=32, complete_style="cyan", finished_style="green"),
            Text(self._progress_text(), style="bold"),
            Text.assemble(("ETA ", "bright_black"), self._eta_text()),
        )
        readings = Text("  ").join(Text.assemble((f"{name} ", "bright_black"), (value, "bold")) for name, value in self._readings())
        return Group(bar, Text.assemble((_sparkline(self._losses), "cyan"), " " if self._losses else "", readings))

    def _progress_text(self) -> str:
        epoch = f"  epoch {self._values['epoch']:.0f}" if math.isfinite(self._values.get("epoch", math.nan)) else ""
        share = 100 * self._step / max(1, self._total_steps)
        return f"{self._noun} {self._step:,}/{self._total_steps:,}{epoch}  {share:.0f} %"

    def _readings(self) -> list[tuple[str, str]]:
        wanted = (
            ("loss", "loss", ".4f", ""),
            ("accuracy", "accuracy_percent", ".1f", " %"),
            ("groups", "groups/accuracy_percent", ".1f", " %"),
            ("images/s", "images_per_s", ".1f", ""),
            ("data wait", "data_wait_percent", ".0f", " %"),
        )
        return [(label, f"{self._values[name]:{spec}}{unit}") for label, name, spec, unit in wanted if name in self._values]

    def _eta_text(self) -> str:
        if not self._images_per_s > 0:
            return "–"
        return _clock((self._total_steps - self._step) * self._samples_per_step / self._images_per_s)

    def _line(self, text: str) -> None:
        self._rich.print(Text(text), soft_wrap=True)
        self._rich.file.flush()

    def _note(self, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n"
        if self._log is None:
            self._unlogged.append(line)
        else:
            self._log.write(line)
            self._log.flush()


def show(renderable: RenderableType, *, wrap: bool = True) -> None:
    """Print any rich renderable on standard output, once; without `wrap` its lines are as long as they need."""
    plain_or_rich(None).print(renderable, soft_wrap=not wrap)


def plain_or_rich(file: TextIOWrapper | StringIO | None) -> rich.console.Console:
    """Elsewhere than on a terminal: no colours, no control codes, and lines as long as they are, whatever the environment asks for."""
    if (file or sys.stdout).isatty() and os.environ.get("TERM") != "dumb":
        return rich.console.Console(file=file, highlight=False)
    return rich.console.Console(file=file, highlight=False, force_terminal=False, no_color=True, color_system=None, width=_LINE_WIDTH)


def printable(text: str) -> str:
    """A text from elsewhere without control characters, which could move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _sparkline(values: list[float]) -> str:
    if len(values) < 2:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(_SPARK[round((value - low) / span * (len(_SPARK) - 1))] for value in values)


def _clock(seconds: float) -> str:
    minutes, rest_s = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest_s:02d}" if hours else f"{minutes}:{rest_s:02d}"
