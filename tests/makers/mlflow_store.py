"""An MLflow database without runs. MLflow migrates a new one through all its versions, which takes seconds; this one is made once and copied."""

import shutil
from pathlib import Path

from mcdist.report.mlflow_sink import default_tracking_uri


def make_store(database: Path) -> Path:
    """As MLflow makes it at its first use."""
    import mlflow

    mlflow.MlflowClient(tracking_uri=default_tracking_uri(database)).search_experiments()
    return database


def copy_store(made: Path, *, database: Path) -> str:
    """The tracking URI of a copy at `database`."""
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, database)
    return default_tracking_uri(database)
