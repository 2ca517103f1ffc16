"""MLflow as a view of a run: parameters, metrics, artifacts. Rank 0 only; training never waits long for it and never stops for it.

A failing tracking server costs one warning; records wait in memory and go out with the next call that succeeds. A resumed run continues its
MLflow run; steps it replays appear there twice (MLflow cannot forget a value), once in metrics.jsonl. Measured on two slow cores: 5 s to import
mlflow, 5 s to create an sqlite store, 0.05 s a call after that.
"""

import importlib
import logging
import os
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mcdist.errors import MissingExtraError
from mcdist.records import Record

MAX_WAITING = 200_000
"""Records kept while the server is away; beyond it the oldest go, counted. They are in metrics.jsonl all the same."""

RETRY_AFTER_S = 60.0
"""A failing server is asked again after so long, so that its timeouts do not stall training."""

_KEY_TAG = "mcdist.run"
_ARTIFACTS_NAME = "mlflow_artifacts"
_BATCH = 1000
_PARAMETERS_A_CALL = 100
_MAX_VALUE = 6000
_MAX_KEY = 250


def default_tracking_uri(database: Path) -> str:
    """The sqlite URI of `RunDir.mlflow_database`."""
    return f"sqlite:///{database.resolve()}"


class MlflowSink:
    """One MLflow run. `run_id` is kept with the run, so that a resumed one continues it; None until the server has answered once.

    `key` identifies the run folder and is a tag of the MLflow run: a start that was killed before it could keep the id, or that never had an
    answer, leaves an MLflow run that the next start finds.
    """

    def __init__(
        self,
        *,
        uri: str,
        experiment: str,
        run_name: str,
        run_id: str | None,
        key: str,
        parameters: dict[str, Any],
        only_adds: bool,
        warn: Callable[[str], None],
    ) -> None:
        """Use `MlflowSink.start`, which also connects."""
        self.run_id, self._key = run_id, key
        self._only_adds, self._is_new = only_adds, False
        self._uri, self._experiment, self._run_name, self._parameters, self._warn = uri, experiment, run_name, parameters, warn
        self._client: Any = None
        self._waiting: deque[tuple[int, Record]] = deque()
        self._artifacts: list[Path] = []
        self._num_lost = 0
        self._has_warned = False
        self._has_warned_of_move = False
        self._retry_at_s = 0.0

    @staticmethod
    def start(
        *,
        uri: str,
        experiment: str,
        run_name: str,
        run_id: str | None,
        parameters: dict[str, Any],
        key: str = "",
        only_adds: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> "MlflowSink":
        """Create the MLflow run, or continue `run_id`, or else the one of `key` (empty: none); a server that is away is warned of and asked again later.

        With `only_adds` a run that is continued keeps its status and its parameters: it may be running elsewhere, or have been stopped.

        Raises:
            MissingExtraError: mlflow is not installed, or cannot be imported.
        """
        _import_quietly()
        sink = MlflowSink(
            uri=uri,
            experiment=experiment,
            run_name=run_name,
            run_id=run_id,
            key=key,
            parameters=parameters,
            only_adds=only_adds,
            warn=warn or _warn,
        )
        sink._try(sink._connect)
        return sink

    @property
    def num_waiting(self) -> int:
        """Records that have not reached the server yet."""
        return len(self._waiting)

    def log(self, records: Iterable[Record]) -> None:
        """Send records, and all that wait, in batches of up to 1000 a call."""
        now_ms = time.time_ns() // 1_000_000
        self._waiting.extend((now_ms, record) for record in records)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._num_lost += 1
        self._try(self._send)

    def log_artifacts(self, paths: Iterable[Path]) -> None:
        """Send files and folders; a folder keeps its name. Paths that do not exist are named in a warning."""
        for path in paths:
            if path.exists():
                self._artifacts.append(path)
            else:
                self._warn(f"MLflow gets no {path}: there is no such file")
        self._try(self._send)

    def finish(self, status: str) -> None:
        """Send what waits and close the MLflow run with FINISHED, FAILED or KILLED (not one that `only_adds` continued); warn of what never arrived."""
        self._retry_at_s = 0.0
        self._try(self._send)
        if self._is_new or not self._only_adds:
            self._try(lambda: self._client.set_terminated(self.run_id, status=status))
        missing = self._num_lost + len(self._waiting)
        if missing or self._artifacts:
            self._warn(f"MLflow at {self._uri} missed {missing:,} records and {len(self._artifacts)} files; all of it is in the run folder")

    def _try(self, action: Callable[[], Any]) -> None:
        """Any failure of MLflow's (server, database, its own bugs) is a warning here: tracking is a view, training is the work."""
        if time.monotonic() < self._retry_at_s:
            return
        try:
            if self._client is None:
                self._connect()
            if action != self._connect:
                action()
        except Exception as error:
            self._retry_at_s = time.monotonic() + RETRY_AFTER_S
            if not self._has_warned:
                self._has_warned = True
                reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
                self._warn(f"MLflow at {self._uri} fails ({reason}); training goes on, records wait and are sent when it answers again")

    def _connect(self) -> None:
        mlflow = _import_quietly()
        client = mlflow.MlflowClient(tracking_uri=self._uri)
        if self.run_id is not None and not self._continue_run(client):
            self.run_id = None
        if self.run_id is None:
            self.run_id = self._find_or_create(client)
        if self._is_new or not self._only_adds:
            self._send_parameters(client)
        self._client = client

    def _continue_run(self, client: Any) -> bool:
        """False where the server answers and does not know the run."""
        try:
            self._reopen(client, run_id=self.run_id)
        except Exception as error:
            if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._warn(f"MLflow at {self._uri} has no run {self.run_id} to continue; a new one is made")
            return False
        return True

    def _reopen(self, client: Any, *, run_id: str | None) -> None:
        """Mark the run as running, unless it is only added to; then ask whether it is there."""
        if self._only_adds:
            client.get_run(run_id)
        else:
            client.update_run(run_id, status="RUNNING")

    def _find_or_create(self, client: Any) -> str:
        experiment = _experiment_id(client, name=self._experiment, uri=self._uri)
        found = client.search_runs([experiment], filter_string=f"tags.`{_KEY_TAG}` = '{self._key}'", max_results=1) if self._key else []
        if found:
            self._reopen(client, run_id=found[0].info.run_id)
            return str(found[0].info.run_id)
        self._is_new = True
        return str(client.create_run(experiment, run_name=self._run_name, tags={_KEY_TAG: self._key} if self._key else None).info.run_id)

    def _send_parameters(self, client: Any) -> None:
        """New parameters as such; one whose value changed since the run's start becomes a tag, since MLflow never changes a parameter."""
        entities = importlib.import_module("mlflow.entities")
        known = client.get_run(self.run_id).data.params
        values = {_safe_name(key): self._shortened(key, value) for key, value in self._parameters.items()}
        new = [entities.Param(key, value) for key, value in values.items() if key not in known]
        for first in range(0, len(new), _PARAMETERS_A_CALL):
            client.log_batch(self.run_id, params=new[first : first + _PARAMETERS_A_CALL])
        for key, value in values.items():
            if known.get(key, value) != value:
                client.set_tag(self.run_id, f"resumed_with.{key}"[:_MAX_KEY], value)

    def _shortened(self, key: str, value: Any) -> str:
        text = str(value)
        if len(text) <= _MAX_VALUE:
            return text
        self._warn(f"parameter {key} is {len(text):,} characters long; MLflow takes {_MAX_VALUE:,}, the rest is in config.yaml only")
        return text[: _MAX_VALUE - 1] + "…"

    def _send(self) -> None:
        entities = importlib.import_module("mlflow.entities")
        while self._waiting:
            batch = list(islice(self._waiting, _BATCH))
            self._client.log_batch(self.run_id, metrics=[entities.Metric(_safe_name(r.name), r.value, at_ms, r.step) for at_ms, r in batch])
            for _ in batch:
                self._waiting.popleft()
        while self._artifacts:
            self._send_artifact(self._artifacts[0])
            self._artifacts.pop(0)

    def _can_hold_artifacts(self) -> bool:
        """False, with a warning, where the store keeps artifacts in a folder that is gone: MLflow would make it anew, away from the run."""
        where = urlsplit(self._client.get_run(self.run_id).info.artifact_uri)
        artifacts = Path(unquote(where.path))  # DATABASE_FOLDER/mlflow_artifacts/RUN_ID/artifacts
        if where.scheme != "file" or artifacts.parent.parent.name != _ARTIFACTS_NAME or artifacts.parents[2].is_dir():
            return True
        if not self._has_warned_of_move:
            self._has_warned_of_move = True
            self._warn(f"MLflow gets no files: it keeps them in {artifacts.parents[2]}, which was moved or removed; they are in the run folder")
        return False

    def _send_artifact(self, path: Path) -> None:
        if not self._can_hold_artifacts():
            return
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), artifact_path=path.name)
        else:
            self._client.log_artifact(self.run_id, str(path))


def _import_quietly() -> Any:
    """mlflow without telemetry, without chatter, and with short patience for a server that is away."""
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
    for name, value in {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR", **patience}.items():
        os.environ.setdefault(name, value)
    try:
        mlflow = importlib.import_module("mlflow")
    except Exception as error:  # another package's version, a home folder that is missing: whatever runs on import
        if isinstance(error, ModuleNotFoundError) and error.name == "mlflow":
            raise MissingExtraError("report.mlflow needs mlflow, which is not installed; run: pip install mlflow, or set report.mlflow=off") from error
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
        raise MissingExtraError(
            f"report.mlflow needs mlflow, which is installed but cannot be imported ({reason}); repair it, or set report.mlflow=off"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def _experiment_id(client: Any, *, name: str, uri: str) -> str:
    """The experiment's id, created at need; an sqlite store keeps its artifacts beside the database, in `mlflow_artifacts/`."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    database = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
    location = None if database is None else (database.resolve().parent / _ARTIFACTS_NAME).as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _safe_name(name: str) -> str:
    """MLflow takes letters, digits, `_-. :/` in names, and no path that climbs."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII).replace("..", "__").strip("/")[:_MAX_KEY] or "_"


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)
