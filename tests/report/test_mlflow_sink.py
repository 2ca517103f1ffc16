"""MLflow: a run is continued under its id, and a server that is away stops nothing."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcdist.errors import MissingExtraError
from mcdist.records import Record
from mcdist.report import mlflow_sink
from mcdist.report.mlflow_sink import MlflowSink, default_tracking_uri


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_continues_its_mlflow_run_with_parameters_metrics_and_artifacts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = default_tracking_uri(tmp_path / "mlflow.db")
    warned: list[str] = []
    report = tmp_path / "report.html"
    report.write_text("a report")
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "00_a.png").write_bytes(b"png")

    first = MlflowSink.start(uri=uri, experiment="mcdist", run_name="animals", run_id=None, parameters={"a": 1, "long": "x" * 7000}, warn=warned.append)
    first.log([Record(step=step, name="loss/contrast", value=float(step)) for step in range(1500)])
    again = MlflowSink.start(uri=uri, experiment="mcdist", run_name="animals", run_id=first.run_id, parameters={"a": 2, "b": 3}, warn=warned.append)
    again.log([Record(step=1500, name="odd <name>..", value=float("nan")), Record(step=1500, name="loss/contrast", value=7.0)])
    again.log_artifacts([report, tmp_path / "panels", tmp_path / "missing.png"])
    again.finish("FINISHED")

    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(first.run_id)
    assert again.run_id == first.run_id is not None
    assert run.info.status == "FINISHED" and run.info.run_name == "animals"
    assert run.data.params["a"] == "1" and run.data.params["b"] == "3" and len(run.data.params["long"]) == 6000
    assert run.data.tags["resumed_with.a"] == "2"
    assert run.data.metrics["loss/contrast"] == 7.0 and "odd _name___" in run.data.metrics
    assert len(client.get_metric_history(first.run_id, "loss/contrast")) == 1501
    artifacts = tmp_path / "mlflow_artifacts" / first.run_id / "artifacts"
    assert (artifacts / "report.html").read_text() == "a report"
    assert (artifacts / "panels" / "00_a.png").exists()
    assert [text for text in warned if "7,000 characters" in text] and [text for text in warned if "missing.png" in text] and len(warned) == 2
    assert "INFO" not in "".join(capfd.readouterr())

    unknown = MlflowSink.start(uri=uri, experiment="mcdist", run_name="b", run_id="0" * 32, parameters={}, warn=warned.append)
    assert unknown.run_id not in (None, "0" * 32) and "has no run 0000" in warned[-1]


@pytest.mark.filterwarnings("ignore")
def test_a_start_that_could_not_keep_its_id_leaves_a_run_that_the_next_one_continues(mlflow_store: Callable[[Path], str], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = mlflow_store(tmp_path / "mlflow.db")
    given: dict[str, Any] = {"uri": uri, "experiment": "mcdist", "run_name": "a", "run_id": None, "parameters": {}}
    first = MlflowSink.start(**given, key="0123abcd")
    again = MlflowSink.start(**given, key="0123abcd")
    other = MlflowSink.start(**given, key="4567cdef")
    assert again.run_id == first.run_id is not None
    assert other.run_id not in (None, first.run_id)
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert len(client.search_runs([client.get_experiment_by_name("mcdist").experiment_id])) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_server_that_is_away_costs_one_warning_and_gets_what_it_missed_once_it_is_back(
    mlflow_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    warned: list[str] = []
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_sink, "RETRY_AFTER_S", 0.0)
    sink = MlflowSink.start(uri="http://127.0.0.1:9", experiment="mcdist", run_name="a", run_id=None, parameters={"a": 1}, warn=warned.append)
    sink.log([Record(step=1, name="loss", value=1.0)])
    assert len(warned) == 1 and "training goes on" in warned[0] and sink.run_id is None and sink.num_waiting == 1

    sink._uri = mlflow_store(tmp_path / "mlflow.db")
    sink.log([Record(step=2, name="loss", value=2.0)])
    history = mlflow.MlflowClient(tracking_uri=sink._uri).get_metric_history(sink.run_id, "loss")
    assert [metric.value for metric in history] == [1.0, 2.0] and sink.num_waiting == 0 and len(warned) == 1


@pytest.mark.filterwarnings("ignore")
def test_what_never_arrived_is_counted_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    warned: list[str] = []
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_sink, "MAX_WAITING", 3)
    sink = MlflowSink.start(uri="http://127.0.0.1:9", experiment="mcdist", run_name="a", run_id=None, parameters={}, warn=warned.append)
    sink.log([Record(step=step, name="loss", value=1.0) for step in range(5)])
    sink.log_artifacts([tmp_path])
    sink.finish("FAILED")
    assert sink.num_waiting == 3
    assert "missed 5 records and 1 files" in warned[-1] and len(warned) == 2


def test_without_mlflow_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match="pip install mlflow"):
        MlflowSink.start(uri="sqlite:///x.db", experiment="e", run_name="a", run_id=None, parameters={})


@pytest.mark.filterwarnings("ignore")
def test_a_value_that_is_not_finite_reaches_the_server_as_one(mlflow_store: Callable[[Path], str], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = mlflow_store(tmp_path / "mlflow.db")
    warned: list[str] = []
    sink = MlflowSink.start(uri=uri, experiment="mcdist", run_name="skipped", run_id=None, parameters={}, warn=warned.append)
    sink.log([Record(step=1, name="loss", value=2.0), Record(step=2, name="loss", value=math.nan), Record(step=3, name="loss", value=1.0)])
    sink.finish("FINISHED")
    assert not warned and sink.num_waiting == 0
    history = {metric.step: metric.value for metric in mlflow.MlflowClient(tracking_uri=uri).get_metric_history(sink.run_id, "loss")}
    assert (history[1], history[3]) == (2.0, 1.0) and math.isnan(history[2])


def test_an_mlflow_that_cannot_be_imported_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text("raise TypeError('Descriptors cannot be created directly.\\nmore')\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"installed but cannot be imported \(TypeError: Descriptors cannot be created directly.\); repair it"):
        MlflowSink.start(uri="sqlite:///x.db", experiment="e", run_name="a", run_id=None, parameters={})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("status", ["RUNNING", "KILLED", "FINISHED"])
def test_adding_to_a_run_changes_neither_its_status_nor_its_parameters(mlflow_store: Callable[[Path], str], tmp_path: Path, status: str) -> None:
    mlflow = pytest.importorskip("mlflow")
    given: dict[str, Any] = {"uri": mlflow_store(tmp_path / "mlflow.db"), "experiment": "mcdist", "run_name": "a"}
    first = MlflowSink.start(**given, run_id=None, key="0123abcd", parameters={"a": 1})
    if status != "RUNNING":
        first.finish(status)
    for number, run_id in enumerate((first.run_id, None)):  # by its id, and by its key
        added = MlflowSink.start(**given, run_id=run_id, key="0123abcd", parameters={"a": 2, "b": 3}, only_adds=True)
        added.log([Record(step=number, name="evaluation", value=5.0)])
        added.finish("FINISHED")
        assert added.run_id == first.run_id
    run = mlflow.MlflowClient(tracking_uri=given["uri"]).get_run(first.run_id)
    assert run.info.status == status
    assert run.data.params == {"a": "1"}
    assert not [tag for tag in run.data.tags if tag.startswith("resumed_with")]
    assert run.data.metrics == {"evaluation": 5.0}
    new = MlflowSink.start(**given, run_id=None, key="89ab", parameters={"a": 2}, only_adds=True)
    new.finish("FINISHED")
    run = mlflow.MlflowClient(tracking_uri=given["uri"]).get_run(new.run_id)
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "2"})


@pytest.mark.filterwarnings("ignore")
def test_files_of_a_run_folder_that_was_moved_are_not_written_to_where_it_was(mlflow_store: Callable[[Path], str], tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    old, moved = tmp_path / "old", tmp_path / "moved"
    warned: list[str] = []
    old.mkdir()
    (old / "report.html").write_text("a report")
    first = MlflowSink.start(uri=mlflow_store(old / "mlflow.db"), experiment="e", run_name="a", run_id=None, parameters={})
    first.finish("FINISHED")
    old.rename(moved)
    uri = default_tracking_uri(moved / "mlflow.db")
    added = MlflowSink.start(uri=uri, experiment="e", run_name="a", run_id=first.run_id, parameters={}, only_adds=True, warn=warned.append)
    added.log_artifacts([moved / "report.html", moved / "report.html"])
    added.finish("FINISHED")
    assert not old.exists()
    assert len(warned) == 1 and f"it keeps them in {old}, which was moved or removed" in warned[0]
