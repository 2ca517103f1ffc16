"""A job is followed through all that SLURM says of it. squeue and sacct are stand-ins that say one line a call."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mcdist.errors import MachineError
from mcdist.launch import follow as module
from mcdist.launch.follow import Followed, follow
from mcdist.records import Record
from mcdist.report.job_view import JobRow

SACCT = "JobID|State|NodeList\n17|{state}|n1"


class Shown:
    """Stands for the view: keeps what it was shown."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.records: tuple[Record, ...] = ()

    def update(self, rows: Sequence[JobRow]) -> None:
        self.states += [row.state for row in rows]
        self.records = rows[0].records


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """SLURM's words: each call of squeue takes the next line ("-": it does not know the job), the last one again and again; sacct has a state."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()

    def say(*states: str, sacct: str = "UNKNOWN") -> None:
        (tmp_path / "states").write_text("\n".join(states) + "\n")
        (bin_ / "squeue").write_text(
            f"""#!/bin/sh
IFS= read -r state < {tmp_path}/states
if [ $(wc -l < {tmp_path}/states) -gt 1 ]; then sed -i 1d {tmp_path}/states; fi
[ "$state" = - ] && exit 1
echo "17|$state|n1"
"""
        )
        (bin_ / "sacct").write_text(f"#!/bin/sh\nprintf '%s\\n' '{SACCT.format(state=sacct)}'\n")
        for path in bin_.iterdir():
            path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    monkeypatch.setattr(module, "POLL_S", 0.0)
    monkeypatch.setattr(module, "SETTLE_S", 0.2)
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    return say


def _follow(*, run_dir: Path | None = None) -> tuple[int, Shown]:
    shown = Shown()
    return follow([Followed("17", run_dir)], view=shown), shown


def test_a_job_is_followed_through_a_lost_node_and_a_requeue(says) -> None:
    says("PENDING", "RUNNING", "NODE_FAIL", "COMPLETING", "PENDING", "RUNNING", "COMPLETED")
    code, shown = _follow()
    assert code == 0
    assert shown.states == ["PENDING", "RUNNING", "NODE_FAIL", "COMPLETING", "PENDING", "RUNNING", "COMPLETED"]


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"])
def test_what_did_not_end_well_is_not_zero(says, state: str) -> None:
    says("RUNNING", state)
    assert _follow()[0] == 1


def test_a_node_failure_that_lasts_is_an_end(says) -> None:
    says("RUNNING", "NODE_FAIL")
    assert _follow()[0] == 1


def test_sacct_is_asked_where_the_queue_has_forgotten_the_job(says) -> None:
    says("RUNNING", "-", sacct="COMPLETED")
    code, shown = _follow()
    assert code == 0 and shown.states == ["RUNNING", "COMPLETED"]


def test_a_job_nobody_knows_is_given_up_after_a_time(says) -> None:
    says("-")
    with pytest.raises(MachineError, match="neither squeue nor sacct knew job 17"):
        _follow()


def test_the_newest_readings_are_shown_and_a_damaged_file_hides_nothing_else(says, tmp_path: Path) -> None:
    says("COMPLETED")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "name": "loss", "value": 2.0, "unit": ""}\n{"step": 2, "name": "loss", "value": 1.5, "unit": ""}\n')
    assert _follow(run_dir=tmp_path)[1].records == (Record(2, "loss", 1.5, ""),)
    (tmp_path / "metrics.jsonl").write_text("no json\n")
    code, shown = _follow(run_dir=tmp_path)
    assert code == 0 and shown.records == ()
