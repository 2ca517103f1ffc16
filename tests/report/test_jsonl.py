"""metrics.jsonl: what is written is read, and a restart keeps exactly what it will not replay."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.errors import DataError, MachineError
from mcdist.records import Record
from mcdist.report.jsonl import MetricsFile, read_metrics

RECORDS = st.builds(
    Record, step=st.integers(0, 50), name=st.text(max_size=20), value=st.floats(allow_nan=False, allow_infinity=False), unit=st.text(max_size=4)
)


@settings(max_examples=30, deadline=None)
@given(records=st.lists(RECORDS, max_size=20))
def test_records_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    with MetricsFile(path, after_step=0) as metrics:
        metrics.write(records)
    assert read_metrics(path) == records


@settings(max_examples=30, deadline=None)
@given(records=st.lists(RECORDS, max_size=20), after_step=st.integers(0, 50))
def test_a_restart_keeps_the_records_up_to_its_step(tmp_path_factory: pytest.TempPathFactory, records: list[Record], after_step: int) -> None:
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    with MetricsFile(path, after_step=0) as metrics:
        metrics.write(records)
    with MetricsFile(path, after_step=after_step) as metrics:
        metrics.write([Record(step=99, name="loss", value=1.0)])
    assert read_metrics(path) == [record for record in records if record.step <= after_step] + [Record(step=99, name="loss", value=1.0)]


def test_a_torn_last_line_is_left_out_and_cut_away_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path, after_step=0) as metrics:
        metrics.write([Record(step=1, name="loss", value=2.0)])
    with path.open("a") as file:
        file.write('{"step": 1, "na')
    assert read_metrics(path) == [Record(step=1, name="loss", value=2.0)]
    MetricsFile(path, after_step=1).close()
    assert path.read_bytes().endswith(b"}\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_null_in_the_file_and_nan_when_read(tmp_path: Path, value: float) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path, after_step=0) as metrics:
        metrics.write([Record(step=3, name="loss", value=value)])
    assert '"value": null' in path.read_text()
    assert math.isnan(read_metrics(path)[0].value)


def test_a_write_is_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl", after_step=0)
    metrics.write([Record(step=1, name="loss", value=2.0)])
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1
    metrics.close()


def test_no_file_has_no_records(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("line", ["", "nonsense", "[1]", '{"step": 1}', '{"step": "1", "name": "a", "value": 1, "unit": ""}', "[" * 100_000, "\xff"])
def test_a_damaged_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "name": "loss", "value": 1, "unit": ""}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:2 must be one record"):
        read_metrics(path)


def test_a_folder_that_is_not_there_is_the_machines_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot write the metrics"):
        MetricsFile(tmp_path / "missing" / "metrics.jsonl", after_step=0)
