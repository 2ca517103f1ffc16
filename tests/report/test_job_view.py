"""Jobs as a person sees them: a plain line for each change where there is no terminal, one table where there is."""

from io import StringIO

import pytest
import rich.console

from mcdist.records import Record
from mcdist.report.job_view import JobRow, JobView, jobs_table

RECORDS = (Record(40, "loss", 1.23456, ""), Record(40, "images_per_s", 81.26, "1/s"), Record(40, "lr", 0.1, ""))


def test_lines_come_with_changes_only() -> None:
    file = StringIO()
    with JobView(file=file) as view:
        for row in (JobRow("17", "PENDING", "(Priority)"), JobRow("17", "PENDING", "(Priority)"), JobRow("17", "RUNNING", "n[1-4]", RECORDS)):
            view.update([row])
    assert file.getvalue() == "job 17  PENDING  (Priority)\njob 17  RUNNING  n[1-4]  step 40  loss 1.2346  images/s 81.3\n"


def test_the_table_has_a_line_a_job() -> None:
    file = StringIO()
    rich.console.Console(file=file, width=120).print(jobs_table([JobRow("17_0", "RUNNING", "n1", RECORDS), JobRow("17_1", "FAILED", "n2")]))
    lines = file.getvalue().splitlines()
    assert [line.split()[:2] for line in lines] == [["job", "state"], ["17_0", "RUNNING"], ["17_1", "FAILED"]]


def test_what_slurm_says_is_no_markup() -> None:
    file = StringIO()
    with JobView(file=file) as view:
        view.update([JobRow("17", "RUNNING", "[red]n1[/red]")])
    assert "[red]n1[/red]" in file.getvalue()


class Terminal(StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_table_is_live_and_its_last_state_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    file = Terminal()
    with JobView(file=file) as view:
        view.update([JobRow("17", "PENDING", "(Priority)")])
        view.update([JobRow("17", "COMPLETED", "n1", RECORDS)])
    shown = file.getvalue()
    assert "PENDING" in shown and shown.index("PENDING") < shown.rindex("COMPLETED") and "loss 1.2346" in shown
