import json
from pathlib import Path

import pytest
import torch

from mcdist.disk import checkpoint
from mcdist.disk.checkpoint import best_checkpoint, load_checkpoint, load_newest, mark_best, prune, save_checkpoint
from mcdist.errors import CheckpointError, MachineError
from mcdist.run_dir import list_checkpoints, name_of


def _save(folder: Path, step: int) -> Path:
    path = folder / name_of(step)
    save_checkpoint(path, tensors={"a": torch.full((3,), float(step)), "b": torch.tensor(step)}, numbers={"step": step})
    return path


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    loaded = load_checkpoint(_save(tmp_path, 7))
    assert loaded.numbers["step"] == 7
    torch.testing.assert_close(loaded.tensors["a"], torch.full((3,), 7.0), rtol=0, atol=0)
    assert loaded.tensors["b"].shape == ()


def test_channels_last_weights_come_back_with_their_values(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "one", tensors={"weight": weight}, numbers={})
    assert torch.equal(load_checkpoint(tmp_path / "one").tensors["weight"], weight)


@pytest.mark.parametrize("name", ["state.safetensors", "meta.json"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path, name: str) -> None:
    _save(tmp_path, 1)
    damaged = _save(tmp_path, 2) / name
    damaged.write_bytes(damaged.read_bytes()[:-5])
    warnings: list[str] = []
    newest = load_newest(tmp_path, warn=warnings.append)
    assert newest is not None
    assert newest.numbers["step"] == 1
    assert len(warnings) == 1
    assert name_of(2) in warnings[0]


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    path = _save(tmp_path, 3) / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path.parent)


def test_all_damaged_is_an_error_and_none_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path, warn=print) is None
    (_save(tmp_path, 1) / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints in .* can be used"):
        load_newest(tmp_path, warn=lambda text: None)


def test_another_schema_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = _save(tmp_path, 1) / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(CheckpointError, match="schema version 99, this mcdist reads 2; use the mcdist that wrote it"):
        load_checkpoint(path.parent)


def test_the_newest_few_and_the_best_stay(tmp_path: Path) -> None:
    paths = [_save(tmp_path, step) for step in (1, 2, 3, 4, 5)]
    mark_best(paths[1])
    prune(tmp_path, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [name_of(step) for step in (2, 4, 5)]
    assert best_checkpoint(tmp_path) == paths[1]


def test_a_note_of_the_best_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    _save(tmp_path / "elsewhere", 1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best").write_text(f"../elsewhere/{name_of(1)}\n")
    assert best_checkpoint(tmp_path / "run") is None


def test_a_full_disk_is_one_sentence_and_loses_no_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(MachineError, match="No space left on device; the earlier ones are intact"):
        _save(tmp_path, 2)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [name_of(1)]
    assert load_checkpoint(tmp_path / name_of(1)).numbers["step"] == 1


def test_a_save_that_dies_half_way_leaves_the_old_one_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path, 1)

    def die(*names: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        _save(tmp_path, 2)
    assert list_checkpoints(tmp_path) == [path]
    assert load_checkpoint(path).numbers["step"] == 1
