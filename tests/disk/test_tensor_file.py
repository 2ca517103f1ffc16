"""What is written is safetensors' format, byte for byte what safetensors reads."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcdist.disk import tensor_file
from mcdist.disk.tensor_file import DTYPES, write_tensors


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {str(dtype): (torch.randn(3, 5, generator=generator) * 50).to(dtype) for dtype in DTYPES}
    found["scalar"] = torch.tensor(7)
    found["empty"] = torch.empty(0, 4)
    found["channels last"] = torch.randn(2, 3, 4, 4, generator=generator).contiguous(memory_format=torch.channels_last)
    found["a column"] = torch.arange(12.0).view(3, 4)[:, 1]
    return found


def test_safetensors_reads_back_every_dtype_and_layout(tmp_path: Path) -> None:
    wanted = tensors()
    sha256, num_bytes = write_tensors(tmp_path / "a.safetensors", wanted)
    content = (tmp_path / "a.safetensors").read_bytes()
    assert (sha256, num_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    got = load_file(tmp_path / "a.safetensors")
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor), name


def test_the_file_is_as_long_as_safetensors_own_and_every_tensor_lies_where_its_dtype_may(tmp_path: Path) -> None:
    plain = {name: tensor.contiguous() for name, tensor in tensors().items()}
    write_tensors(tmp_path / "ours", plain)
    save_file(plain, tmp_path / "theirs")
    content = (tmp_path / "ours").read_bytes()
    assert len(content) == (tmp_path / "theirs").stat().st_size
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header.keys() == plain.keys()
    for name, about in header.items():
        assert (8 + length + about["data_offsets"][0]) % plain[name].element_size() == 0


def test_no_tensors_are_a_file_too(tmp_path: Path) -> None:
    write_tensors(tmp_path / "none", {})
    assert load_file(tmp_path / "none") == {}


def test_a_write_that_takes_less_than_it_was_given_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tensor_file.os.write
    monkeypatch.setattr(tensor_file.os, "write", lambda descriptor, piece: whole(descriptor, piece[:7]))
    wanted = tensors()
    write_tensors(tmp_path / "a", wanted)
    monkeypatch.undo()
    got = load_file(tmp_path / "a")
    assert got.keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in got.items())
