"""Saliency networks of one layer: how red a pixel is."""

import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch


def red_onnx(path: Path, *, shape: list[Any], sigmoid: bool = True, channels_last: bool = False, outputs: tuple[str, ...] = ("map",)) -> Path:
    """Writes a network of input `shape` whose outputs are all (sigmoid of) 4 x red - 2 x green - 2 x blue."""
    onnx = pytest.importorskip("onnx", reason="pip install 'mcdist[dev]'")
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(numpy.array([4, -2, -2], dtype=numpy.float32).reshape(1, 3, 1, 1), "weights")
    nodes = [make.make_node("Conv", ["photo", "weights"], ["raw"])]
    nodes += [make.make_node("Sigmoid" if sigmoid else "Identity", ["raw"], [name]) for name in outputs]
    if channels_last:
        nodes = [make.make_node("Transpose", ["photo"], ["first"], perm=[0, 3, 1, 2]), make.make_node("Conv", ["first", "weights"], ["raw"]), *nodes[1:]]
    given = make.make_tensor_value_info("photo", number, shape)
    told = [make.make_tensor_value_info(name, number, None) for name in outputs]
    graph = make.make_graph(nodes, "red", [given], told, initializer=[weights])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def red_torchscript(path: Path, *, size_px: int) -> Path:
    """The same network as TorchScript, giving a list of two outputs."""

    class Red(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.colour = torch.nn.Conv2d(3, 1, 1, bias=False)
            self.colour.weight.data = torch.tensor([4.0, -2.0, -2.0]).view(1, 3, 1, 1)

        def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raw = self.colour(photo)
            return raw.sigmoid(), raw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript is old
        torch.jit.trace(Red(), torch.zeros(1, 3, size_px, size_px)).save(str(path))
    return path
