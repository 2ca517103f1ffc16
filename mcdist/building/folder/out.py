"""The folder a build writes to: which files in it are ours, and whether a build may begin there."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcdist.building.source import Option
from mcdist.data.shards.manifest import MANIFEST_NAME, Manifest, read_manifest
from mcdist.errors import ConfigError, HeldError, MachineError, ShardError, differing

SHARD_NAME = re.compile(r"shard-(\d{6})\.(?:tar|beton)")
SIDECAR_NAME = re.compile(r"\.shard-\d{6}\.json")
INDEX_NAME = re.compile(r"shard-\d{6}\.index\.json")
BESIDE_NAME = re.compile(r"\.(shard-\d{6}\.tar|shard-\d{6}\.beton|shard-\d{6}\.index\.json|\.shard-\d{6}\.json|manifest\.json)\.\d+")
"""Unfinished files of a build that was killed."""


def open_folder(folder: Path, *, source: str, format: str, options: dict[str, Option], overwrite: bool) -> Manifest | None:
    """Make the folder ready; the manifest where this very build is complete there already.

    Raises:
        ConfigError: shards of another format or of other options, or shards this program may not have written, and no `overwrite`.
        MachineError: the folder cannot be made.
    """
    make_folder(folder)
    if overwrite:
        remove_ours(folder, keep=frozenset())
        return None
    if (folder / MANIFEST_NAME).is_file():
        return _same_build(folder, wanted={"source": source, "format": format, **options})
    if _ours(folder, SHARD_NAME) and not _ours(folder, SIDECAR_NAME):
        found = _ours(folder, SHARD_NAME)[0].name
        raise ConfigError(
            f"expected an empty folder or one of an unfinished build at {folder}, found {found} of unknown origin; choose another --out, or --overwrite"
        )
    return None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder while it is built: two builds at a time would leave one's shards under the other's manifest. The kernel lets go of it.

    Raises:
        HeldError: another build is at work in it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise HeldError(f"another build is writing to {folder}; wait for it to end, or choose another --out") from error
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Raises MachineError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from error


def remove_ours(folder: Path, *, keep: frozenset[str]) -> None:
    """Delete the plain files a build may have left, by name, except those in `keep`. The manifest is deleted first: without it nothing counts as complete."""
    if MANIFEST_NAME not in keep:
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for pattern in (SIDECAR_NAME, SHARD_NAME, INDEX_NAME, BESIDE_NAME):
        for path in _ours(folder, pattern):
            if path.name not in keep:
                path.unlink(missing_ok=True)


def _same_build(folder: Path, *, wanted: dict[str, Option]) -> Manifest:
    try:
        manifest = read_manifest(folder)
    except ShardError as error:
        raise ConfigError(f"{error}; or build anew with --overwrite") from error
    there = {"source": manifest.source, "format": manifest.format, **manifest.options}
    if there != wanted:
        shown = differing(there, wanted, names={**there, **wanted}, most=3)
        raise ConfigError(f"{folder} already holds other shards ({shown}); choose another --out, or replace them with --overwrite")
    return manifest


def _ours(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file() and not path.is_symlink())
