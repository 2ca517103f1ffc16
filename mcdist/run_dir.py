"""RunDir: every file name of a run, in one place. One folder holds all of a run."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mcdist.errors import ConfigError, MachineError

META_NAME = "meta.json"
"""In a checkpoint's folder, written last."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """The folder of one run. Nothing is created by naming it; `create` makes it."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved configuration: defaults, file and `key=value` merged."""
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        """Machine, versions, command line and commit: one JSON object per start of the run."""
        return self.root / "environment.json"

    @property
    def metrics(self) -> Path:
        """Every measured value, one Record a line; the reference for all other views."""
        return self.root / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Warnings and notices, as shown on the console."""
        return self.root / "log.txt"

    @property
    def bad_samples(self) -> Path:
        """Samples that could not be read, with data.bad_samples=skip: one JSON object a line; only if there were any."""
        return self.root / "bad_samples.jsonl"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint."""
        return self.root / "checkpoints"

    @property
    def initial_checkpoint(self) -> Path:
        """The encoder before the first step, kept as the baseline of the evaluation."""
        return self.root / "initial"

    @property
    def attempts(self) -> Path:
        """One record per start of the run, `NNNNNN.json`, and the working folder `NNNNNN/` of the start that holds the run."""
        return self.root / "attempts"

    @property
    def stacks(self) -> Path:
        """Thread dumps of hung ranks, one file `rank_NNNNN.txt` each; only if one hung."""
        return self.root / "stacks"

    @property
    def evaluation(self) -> Path:
        """The evaluation's table and counts as JSON."""
        return self.root / "evaluation.json"

    @property
    def features(self) -> Path:
        """Feature stores, one folder each: what the encoders say about the evaluated photos. May be deleted at any time."""
        return self.root / "features"

    @property
    def views(self) -> Path:
        """The backbone's features of the training photos' views, one folder each (`views.cached`). May be deleted at any time."""
        return self.root / "views"

    @property
    def davis(self) -> Path:
        """Videos that were followed (`mcdist davis`), one folder for each checkpoint and data set."""
        return self.root / "davis"

    @property
    def panels(self) -> Path:
        """Side-by-side pictures of the evaluated photos (PNG)."""
        return self.root / "panels"

    @property
    def failures(self) -> Path:
        """Panels of the photos that the quoted row is worst on (PNG), and `scores.json`: mIoU in % by the panel's file name."""
        return self.root / "failures"

    @property
    def object_map(self) -> Path:
        """The evaluated objects on two principal components, before and after training."""
        return self.root / "object_map.json"

    @property
    def clusters(self) -> Path:
        """The most typical objects of each cluster of the quoted row (PNG)."""
        return self.root / "clusters"

    @property
    def neighbours(self) -> Path:
        """A few objects, each beside its nearest ones before and after training (PNG)."""
        return self.root / "neighbours"

    @property
    def retrieved(self) -> Path:
        """A few objects, each beside the nearest ones of the photos that a retrieval protocol was fitted on (PNG), and their classes."""
        return self.root / "retrieved"

    @property
    def groups(self) -> Path:
        """The groups that training learnt from, `round_NN/` each round."""
        return self.root / "groups"

    @property
    def catalogue(self) -> Path:
        """The objects of the training photos, clustered (`mcdist cluster`)."""
        return self.root / "catalogue"

    @property
    def names(self) -> Path:
        """What a person called the catalogue's clusters."""
        return self.root / "names.json"

    @property
    def report(self) -> Path:
        """The report: one self-contained HTML file."""
        return self.root / "report.html"

    @property
    def mlflow_database(self) -> Path:
        """The default MLflow store (sqlite)."""
        return self.root / "mlflow.db"

    @property
    def launch(self) -> Path:
        """One folder per submission to a cluster: batch script, a copy of the code, the tasks' logs, and how each start ended."""
        return self.root / "launch"

    def moved(self, location: str, *, was: Path) -> str:
        """A location that was written down while this folder was at `was`: where nothing is there any more and it was inside the folder, its place in it."""
        parts, folder = Path(location).parts, was.parts
        if not location or "://" in location or Path(location).exists():
            return location
        for place in range(len(parts) - len(folder), -1, -1):
            inner = self.root.joinpath(*parts[place + len(folder) :])
            if folder and parts[place : place + len(folder)] == folder and inner.exists():
                return str(inner.resolve())
        return location

    def require(self) -> "RunDir":
        """Itself; ConfigError where the folder holds no run."""
        if not self.config.is_file():
            raise ConfigError(f"expected a run at {self.root} (its {self.config.name}), found none; train first: mcdist train CONFIG run.dir={self.root}")
        return self

    def transferred(self, name: str) -> "RunDir":
        """The folder, made where it is missing, of an evaluation on the data set `name`, which is not the run's own. Raises MachineError where it cannot be."""
        folder = self.root / "transfer" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"cannot create {folder}: {error.strerror}; free some space, or check its permissions") from error
        return RunDir(folder)

    def create(self) -> "RunDir":
        """Make the folder and `checkpoints/`; an existing one is kept as it is.

        Raises:
            ConfigError: the folder holds shards.
            MachineError: the folder cannot be made.
        """
        if (self.root / "manifest.json").is_file():
            raise ConfigError(f"run.dir={self.root} must be a folder of its own, it holds shards or a feature store (manifest.json); choose another")
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"cannot create the run folder {self.root}: {error.strerror}; choose another with run.dir=PATH") from error
        return self


def name_of(step: int) -> str:
    """Folder name of the checkpoint after `step` steps; names sort by step."""
    return f"step_{step:08d}"


def step_of(checkpoint: Path) -> int | None:
    """The step that `name_of` gave a checkpoint's folder its name for; None where the name is another."""
    step = checkpoint.name.removeprefix("step_")
    return int(step) if step.isdecimal() else None


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step_*") if (path / META_NAME).is_file())


def open_in_place(path: Path, content: bytes, *, folder: Path | None = None) -> TextIO:
    """`write_atomically`, and the file stays open to append to. Who had it open before appends to a file that has no name any more."""
    beside = (folder or path.parent) / f".{path.name}.{os.getpid()}"
    beside.write_bytes(content)
    file = beside.open("a", encoding="utf-8")
    try:
        beside.replace(path)
    except OSError:
        file.close()
        raise
    return file


def write_atomically(path: Path, content: bytes, *, folder: Path | None = None, flush: bool = True) -> None:
    """Write beside (or in `folder`, of the same disk), flush to disk, then rename: a reader sees the old file or the new one, never half of one.

    Without `flush` nothing waits for the disk, for one file of very many: after a power cut it may be empty, and its reader must notice.
    """
    beside = (folder or path.parent) / f".{path.name}.{os.getpid()}"
    try:
        with beside.open("wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        discard(beside)
        if isinstance(error, FileNotFoundError):
            raise MachineError(f"cannot write {path}: there is no folder {beside.parent}; make it, or choose another") from error
        raise MachineError(f"cannot write {path}: {error.strerror}; free some space or choose another folder; the earlier file is untouched") from error


def discard(path: Path) -> None:
    """Remove an unfinished file, if it is there. A disk that refuses this too changes nothing about the error that is being told."""
    with suppress(OSError):
        path.unlink()
