"""The console: plain lines in a log file, a live line on a terminal, nothing but warnings when off."""

import io
from pathlib import Path

import pytest

from mcdist.errors import ConfigError, MachineError
from mcdist.records import Record
from mcdist.report.console import Console
from tests.makers.unchecked import make_unchecked
from tests.report.fake_run import make_records

RECORDS = [
    Record(step=30, name="epoch", value=1.0),
    Record(step=30, name="loss", value=2.5),
    Record(step=30, name="accuracy_percent", value=41.24, unit="%"),
    Record(step=30, name="images_per_s", value=40.0, unit="1/s"),
    Record(step=30, name="data_wait_percent", value=3.0, unit="%"),
    Record(step=30, name="something/new", value=3.0),
]


class Terminal(io.StringIO):
    """A file that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_an_interval_is_one_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    with Console(mode="auto", total_steps=100, samples_per_step=64, file=file) as console:
        console.header("mcdist train", facts={"model": "resnet50", "device": "cpu"})
        console.update(RECORDS)
        console.say("a notice [bold]with brackets[/bold]")
        console.warn("w" * 400)
    assert file.getvalue().splitlines() == [
        "mcdist train  model: resnet50  device: cpu",
        "step 30/100  epoch 1  30 %  loss 2.5000  accuracy 41.2 %  images/s 40.0  data wait 3 %  ETA 1:52",
        "a notice [bold]with brackets[/bold]",
        "warning: " + "w" * 400,
    ]


def test_for_a_while_it_counts_something_else_and_then_steps_again() -> None:
    file = io.StringIO()
    with Console(mode="auto", total_steps=100, samples_per_step=64, file=file) as console:
        with console.counting("view", total=640):
            console.update([Record(step=320, name="images_per_s", value=32.0, unit="1/s")])
        console.update(RECORDS[:2])
    assert file.getvalue().splitlines() == ["view 320/640  50 %  images/s 32.0  ETA 0:10", "step 30/100  epoch 1  30 %  loss 2.5000  ETA –"]


def test_on_a_terminal_the_last_state_stays_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Terminal()
    with Console(mode="auto", total_steps=2520, samples_per_step=64, file=file) as console:
        console.header("mcdist train", facts={"model": "resnet50"})
        console.update(make_records(num_steps=100))
        console.say("a notice")
    text = file.getvalue()
    assert "\x1b[" in text and "step 100/2,520" in text and "a notice" in text and "resnet50" in text and "█" in text


def test_off_shows_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    with Console(mode="off", total_steps=100, samples_per_step=64, file=file) as console:
        console.header("mcdist train", facts={})
        console.update(RECORDS)
        console.say("a notice")
        console.print_table("a table")
        console.warn("look here")
    assert file.getvalue() == "" and capsys.readouterr().err == "warning: look here\n"


def test_control_characters_in_a_name_never_reach_the_terminal_or_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(mode="off", total_steps=1, samples_per_step=1) as console:
        console.open_log(tmp_path / "log.txt")
        console.warn("photo \x1b[2Jodd\x07.jpg")
    assert capsys.readouterr().err == "warning: photo \ufffd[2Jodd\ufffd.jpg\n"
    assert "\x1b" not in (tmp_path / "log.txt").read_text()


def test_notices_and_warnings_are_kept_in_the_log(tmp_path: Path) -> None:
    with Console(mode="off", total_steps=1, samples_per_step=1) as console:
        console.open_log(tmp_path / "log.txt")
        console.say("a notice")
        console.warn("look here")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line[20:] for line in lines] == ["a notice", "warning: look here"]


def test_values_that_are_not_finite_and_no_records_at_all_are_shown() -> None:
    file = io.StringIO()
    with Console(mode="auto", total_steps=0, samples_per_step=1, file=file) as console:
        console.update([])
        console.update([Record(step=1, name=name, value=float("nan")) for name in ("loss", "epoch", "images_per_s", "accuracy_percent")])
    assert "loss nan" in file.getvalue() and "ETA –" in file.getvalue()


def test_an_unknown_mode_is_an_error_also_without_type_checks() -> None:
    with pytest.raises(ConfigError, match="^report.console must be one of auto, off, got 'fancy'$"):
        make_unchecked(Console, mode="fancy", total_steps=1, samples_per_step=1)


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot write the log"):
        Console(mode="off", total_steps=1, samples_per_step=1).open_log(tmp_path / "missing" / "log.txt")


def test_what_was_said_before_the_log_is_opened_is_in_it_and_an_earlier_writer_no_longer_reaches_it(tmp_path: Path) -> None:
    def console() -> Console:
        return Console(mode="off", total_steps=1, samples_per_step=1)

    log = tmp_path / "log.txt"
    with console() as first, console() as second:
        first.open_log(log)
        first.say("of the first start")
        second.say("waiting")
        second.open_log(log)
        first.say("too late")
        second.say("training")
    assert [line[20:] for line in log.read_text().splitlines()] == ["of the first start", "waiting", "training"]
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
