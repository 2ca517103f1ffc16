"""RunDir: names only, made on demand; a file is whole or as it was."""

import errno
import os
from pathlib import Path

import pytest

from mcdist.errors import MachineError
from mcdist.run_dir import RunDir, write_atomically


def test_naming_a_run_creates_nothing(tmp_path):
    RunDir(tmp_path / "run").report  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_every_file_of_a_run_lies_in_its_folder_under_a_name_of_its_own(tmp_path):
    run = RunDir(tmp_path)
    names = [getattr(run, name) for name, value in vars(RunDir).items() if isinstance(value, property)]
    assert all(path.parent == tmp_path for path in names)
    assert len(set(names)) == len(names) >= 10


def test_creating_twice_keeps_what_is_there(tmp_path):
    run = RunDir(tmp_path / "deep" / "run").create()
    run.metrics.write_text("{}\n")
    run.create()
    assert run.metrics.read_text() == "{}\n"
    assert run.checkpoints.is_dir()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(MachineError, match=r"cannot create the run folder .*run: .*; choose another with run.dir=PATH"):
        RunDir(tmp_path / "run").create()


def test_writing_atomically_replaces_the_whole_content_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "config.yaml"
    write_atomically(path, b"first and longer")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_earlier_file_and_no_half_one(tmp_path, monkeypatch, failing):
    path = tmp_path / "config.yaml"
    write_atomically(path, b"earlier")

    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (Path, "replace")), fail)
    with pytest.raises(MachineError, match=r"cannot write .*config.yaml: No space left on device; free some space .* the earlier file is untouched"):
        write_atomically(path, b"later")
    monkeypatch.undo()
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_also_refuses_to_remove_the_unfinished_file_is_told_as_the_first_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *given: object) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MachineError, match="cannot write .*map.png: Read-only file system"):
        write_atomically(tmp_path / "map.png", b"1")
