"""Checkpoints: a folder each, `state.safetensors` and `meta.json`. Written beside and renamed, checksummed; loading executes no code from the file.

A damaged one is passed over with a warning and the one before it is used; nothing here deletes the last good one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from mcdist.disk.tensor_file import write_tensors
from mcdist.errors import CheckpointError, MachineError
from mcdist.json_text import parse_json
from mcdist.run_dir import META_NAME, RunDir, list_checkpoints, write_atomically

SCHEMA_VERSION = 2
STATE_NAME = "state.safetensors"
BEST_NAME = "best"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint read back: its tensors on the CPU and its numbers."""

    path: Path
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


def save_checkpoint(path: Path, *, tensors: Mapping[str, Tensor], numbers: dict[str, Any], folder: Path | None = None) -> None:
    """Write `path` completely or not at all: made beside, or in `folder` (of the same disk), and renamed. An earlier one of that name is replaced at the end.

    Raises:
        MachineError: no space or no permission; earlier checkpoints are untouched.
    """
    beside = (folder or path.parent) / f".{path.name}.{os.getpid()}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=folder is None)
        sha256, num_bytes = write_tensors(beside / STATE_NAME, tensors)
        meta = {"schema_version": SCHEMA_VERSION, "sha256": sha256, "num_bytes": num_bytes, **numbers}
        write_atomically(beside / META_NAME, json.dumps(meta, indent=1).encode())
        if path.exists():
            path.rename(path.with_name(f".{path.name}.old"))
        beside.replace(path)
        shutil.rmtree(path.with_name(f".{path.name}.old"), ignore_errors=True)
        _flush_folder(path.parent)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise MachineError(
            f"cannot write the checkpoint {path} ({_mib(tensors):.0f} MiB): {_reason(error)}; the earlier ones are intact: "
            "free some space and run the same command again"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check one checkpoint folder.

    Raises:
        CheckpointError: missing, damaged (the checksum differs) or of another schema version.
    """
    try:
        meta = parse_json((path / META_NAME).read_text())
        content = (path / STATE_NAME).read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a checkpoint at {path} ({STATE_NAME} and {META_NAME}), could not read it: {error}") from error
    if not isinstance(meta, dict) or meta.get("schema_version") != SCHEMA_VERSION:
        version = meta.get("schema_version") if isinstance(meta, dict) else None
        raise CheckpointError(f"{path} has schema version {version}, this mcdist reads {SCHEMA_VERSION}; use the mcdist that wrote it, or train anew")
    if hashlib.sha256(content).hexdigest() != meta.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged: its checksum is not the recorded one ({len(content)} bytes, {meta.get('num_bytes')} recorded); use an earlier checkpoint"
        )
    try:
        return Checkpoint(path, load_tensors(content), meta)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}; use an earlier checkpoint") from error


def load_newest(folder: Path, *, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; each damaged one on the way is named to `warn`. None where there is none at all.

    Raises:
        CheckpointError: there are some and every one is damaged.
    """
    paths = list_checkpoints(folder)
    failure = None
    for path in reversed(paths):
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            failure = error
            warn(f"{error}; going back to the one before")
    if failure is not None:
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints in {folder} can be used, of the oldest: {failure}; "
            "move the folder away to start anew, or restore one from a backup"
        )
    return None


def find_checkpoint(path: Path, *, which: str = "newest") -> Checkpoint:
    """The checkpoint at `path`: itself a checkpoint folder, or a run folder, of which "newest", "best" or "step_NNNNNNNN" is taken.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if (path / META_NAME).is_file():
        return load_checkpoint(path)
    folder = RunDir(path).checkpoints
    found = list_checkpoints(folder)
    if not found:
        raise CheckpointError(f"expected a run with checkpoints at {path}, found none in {folder}; train first: mcdist train CONFIG run.dir={path}")
    if which == "newest":
        return load_checkpoint(found[-1])
    best = best_checkpoint(folder)
    chosen = best if which == "best" else folder / which
    if chosen is None or chosen not in found:
        names = ["newest", *([] if best is None else ["best"]), *(path.name for path in found)]
        raise CheckpointError(f"{folder} has no checkpoint {which!r}; there are: {', '.join(names)}")
    return load_checkpoint(chosen)


def mark_best(path: Path, *, folder: Path | None = None) -> None:
    """Note that `path` is the best so far; `folder` as in `save_checkpoint`."""
    write_atomically(path.parent / BEST_NAME, path.name.encode() + b"\n", folder=folder)


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint noted as best, if it is there."""
    note = folder / BEST_NAME
    path = folder / note.read_text().strip() if note.is_file() else None
    return path if path is not None and path.parent == folder and (path / META_NAME).is_file() else None


def prune(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` and the best."""
    best = best_checkpoint(folder)
    for path in list_checkpoints(folder)[:-keep]:
        if path != best:
            shutil.rmtree(path, ignore_errors=True)


def _mib(tensors: Mapping[str, Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / 2**20


def _reason(error: OSError) -> str:
    return str((error.__cause__ or error) if isinstance(error, MachineError) else error.strerror)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
