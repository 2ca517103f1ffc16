"""Tensor file: named tensors in safetensors' format, written one after another, so that no second copy of all of them is ever made.

The format: 8 bytes with the header's length, the header in JSON (dtype, shape and place of each tensor), then the tensors' bytes. The largest
dtypes come first, and the header is padded to 8 bytes, so that every tensor is aligned to its dtype.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
PIECE_BYTES = 8 * 2**20
"""Written and hashed at a time; both let other threads run meanwhile."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[str, int]:
    """Write and flush to the disk. Returns (SHA-256 in hexadecimal, bytes) of the file. Raises OSError where the disk refuses."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    digest, num_bytes = hashlib.sha256(), 0
    with path.open("wb", buffering=0) as file:
        for piece in chain([_header(tensors, order=order)], *(_pieces(tensors[name]) for name in order)):
            num_bytes += _put(file.fileno(), piece)
            digest.update(piece)
        os.fsync(file.fileno())
    return digest.hexdigest(), num_bytes


def _header(tensors: Mapping[str, Tensor], *, order: list[str]) -> memoryview:
    about, place = {}, 0
    for name in order:
        tensor = tensors[name]
        end = place + tensor.numel() * tensor.element_size()
        about[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(about, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return memoryview(len(text).to_bytes(8, "little") + text)


def _pieces(tensor: Tensor) -> Iterator[memoryview]:
    whole = memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for start in range(0, len(whole), PIECE_BYTES):
        yield whole[start : start + PIECE_BYTES]


def _put(descriptor: int, piece: memoryview) -> int:
    """All of it; a write may take less than it was given."""
    done = 0
    while done < len(piece):
        done += os.write(descriptor, piece[done:])
    return done
