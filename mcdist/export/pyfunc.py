"""Pyfunc: an exported folder as an MLflow model, and its registration. MLflow keeps the code of `served` beside it as text; nothing is pickled."""

import importlib
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mcdist.errors import MachineError, MissingExtraError, first_line

SERVED = Path(__file__).with_name("served.py")


def write_pyfunc(path: Path, *, encoder: Path) -> None:
    """Write the MLflow model `path` of the exported folder `encoder`, which is copied into it.

    Raises:
        MissingExtraError: mlflow is not installed.
        MachineError: MLflow cannot write it.
    """
    mlflow = _mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    signature = ModelSignature(inputs=Schema([ColSpec(DataType.string, "photo")]))
    requirements = [f"mcdist=={version('mcdist')}", *(f"{name}=={version(name)}" for name in ("torch", "torchvision"))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no input example: a photo in base64 would make one of many kilobytes
            mlflow.pyfunc.save_model(path, python_model=str(SERVED), artifacts={"encoder": str(encoder)}, signature=signature, pip_requirements=requirements)
        _forget_paths(path / "MLmodel")
    except (OSError, mlflow.exceptions.MlflowException) as error:
        raise MachineError(f"MLflow cannot write {path}: {first_line(error)}; free some space, or export without --mlflow") from error


def _forget_paths(manifest: Path) -> None:
    """MLflow notes where the files came from, which is nobody else's business; it reads the last part only, or what is in the folder itself."""
    yaml = YAML()
    content = yaml.load(manifest.read_text())
    flavour = content["flavors"]["python_function"]
    flavour["model_code_path"] = Path(flavour["model_code_path"]).name
    for artifact in flavour["artifacts"].values():
        artifact["uri"] = artifact["path"]
    with manifest.open("w") as file:
        yaml.dump(content, file)


def register_pyfunc(path: Path, *, name: str, uri: str) -> str:
    """Register a copy of the MLflow model under `name` in the store at `uri`; returns `models:/NAME/VERSION`.

    Raises:
        MachineError: the store cannot be reached, or refuses the name.
    """
    mlflow = _mlflow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            made = mlflow.register_model(path.resolve().as_uri(), name)
    except (OSError, mlflow.exceptions.MlflowException) as error:
        raise MachineError(
            f"MLflow at {uri} does not register {name!r}: {first_line(error)}; the model is in {path}, register it elsewhere with mlflow"
        ) from error
    return f"models:/{made.name}/{made.version}"


def _mlflow() -> Any:
    for name, value in {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_LOGGING_LEVEL": "ERROR"}.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's, about its own code
            importlib.import_module("mlflow.pyfunc")
            return importlib.import_module("mlflow")
    except ImportError as error:
        raise MissingExtraError("an MLflow model needs mlflow; pip install 'mcdist[mlflow]'") from error
