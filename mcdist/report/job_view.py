"""JobView: what a person sees of jobs on a cluster. On a terminal a live table, elsewhere a plain line for every change."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO, TextIOWrapper

from rich.live import Live
from rich.table import Table
from rich.text import Text

from mcdist.records import Record
from mcdist.report.console import plain_or_rich

READINGS = (("loss", "loss", ".4f"), ("accuracy %", "accuracy_percent", ".1f"), ("images/s", "images_per_s", ".1f"), ("epoch", "epoch", ".2f"))
COLOURS = {"RUNNING": "green", "COMPLETED": "green", "PENDING": "yellow", "COMPLETING": "yellow"}


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job: its id, SLURM's word for its state, the nodes it runs on or the reason why it waits, and its run's newest records."""

    job_id: str
    state: str
    place: str
    records: tuple[Record, ...] = ()

    def readings(self) -> dict[str, str]:
        """The newest value of each reading that is worth showing, the step first."""
        newest = {record.name: record for record in self.records}
        shown = {label: f"{newest[name].value:{spec}}" for label, name, spec in READINGS if name in newest}
        return {"step": str(max(record.step for record in self.records)), **shown} if self.records else {}


class JobView:
    """Use as a context; `update` with all rows whenever they were asked for. `file` is standard output."""

    def __init__(self, *, file: TextIOWrapper | StringIO | None = None) -> None:
        self._rich = plain_or_rich(file)
        self._shown: dict[str, str] = {}
        self._live: Live | None = None

    def __enter__(self) -> "JobView":
        """Start the live table where there is a terminal."""
        if self._rich.is_terminal:
            self._live = Live(console=self._rich, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def update(self, rows: Sequence[JobRow]) -> None:
        """Show the rows; without a terminal those that changed."""
        if self._live is not None:
            self._live.update(jobs_table(rows), refresh=True)
            return
        for row in rows:
            text = "  ".join([f"job {row.job_id}", row.state, row.place, *(f"{label} {value}" for label, value in row.readings().items())])
            if self._shown.get(row.job_id) != text:
                self._shown[row.job_id] = text
                self._rich.print(Text(text), soft_wrap=True)
                self._rich.file.flush()


def jobs_table(rows: Sequence[JobRow]) -> Table:
    """A line a job."""
    table = Table(box=None, pad_edge=False)
    for title in ("job", "state", "nodes", "readings"):
        table.add_column(title, header_style="bright_black")
    for row in rows:
        readings = "  ".join(f"{label} {value}" for label, value in row.readings().items())
        table.add_row(Text(row.job_id), Text(row.state, style=COLOURS.get(row.state, "red")), Text(row.place), Text(readings))
    return table
