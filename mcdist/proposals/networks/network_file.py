"""NetworkFile: a saliency network from a file, ONNX or TorchScript, as one function from images to its outputs. onnxruntime's only home.

An ONNX file is data: onnxruntime runs the operators it names. A TorchScript file is a program: torch runs it with the rights of this process, so take it from
whom you would take Python code.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import Float

from mcdist.errors import ConfigError, MachineError, MissingExtraError, first_line

Array = numpy.ndarray
SUFFIXES = (".onnx", ".pt", ".pth", ".ts", ".torchscript")


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """`run`: images `[B, 3, H, W]` float32 -> the outputs by name. `height`, `width`, `batch`: what the file fixes; None where it takes any."""

    path: Path
    run: Callable[[Float[Array, "B 3 H W"]], dict[str, Array]]
    height: int | None = None
    width: int | None = None
    batch: int | None = None


def open_network(path: Path, *, device: str) -> NetworkFile:
    """The network in `path`, ready on `device`.

    Raises:
        ConfigError: no such file, no network in it, or an input that is no `[N, 3, H, W]` batch of colour images.
        MissingExtraError: an ONNX file without onnxruntime.
        MachineError: the device is not there for it.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"a saliency network must be a file ending in {', '.join(SUFFIXES)}, got {str(path)!r}; export it, or name its file")
    if not path.is_file():
        raise ConfigError(f"expected a saliency network at {path}, found none; give --option network=PATH")
    return _open_onnx(path, device=device) if path.suffix == ".onnx" else _open_torchscript(path, device=device)


def _open_onnx(path: Path, *, device: str) -> NetworkFile:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(f"{path.name} is an ONNX network and needs onnxruntime; pip install 'mcdist[saliency]'") from error
    provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise MachineError(f"device={device} needs onnxruntime with {provider}, and the installed one has none; pip install onnxruntime-gpu, or use device=cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=[provider])
    except Exception as error:  # onnxruntime's errors have no common base but Exception
        raise ConfigError(f"{path} is no ONNX network that onnxruntime can load: {first_line(error)}") from error
    wanted = session.get_inputs()
    if len(wanted) != 1:
        raise ConfigError(f"{path} has {len(wanted)} inputs ({', '.join(one.name for one in wanted)}), expected one: a batch of images [N, 3, H, W]")
    name, shape = wanted[0].name, wanted[0].shape
    batch, channels, height, width = (_fixed(side) for side in shape) if len(shape) == 4 else (None, None, None, None)
    if len(shape) != 4 or channels not in (3, None):
        remedy = "; it takes colours last: export it with colours first" if len(shape) == 4 and width == 3 else "; export it for a batch of colour images"
        raise ConfigError(f"{path} has an input of shape {shape}, expected [N, 3, H, W]{remedy}")
    dtype = {"tensor(float)": numpy.float32, "tensor(float16)": numpy.float16}.get(wanted[0].type)
    if dtype is None:
        raise ConfigError(f"{path} has an input of type {wanted[0].type}, expected float or float16; export it again")
    outputs = [one.name for one in session.get_outputs()]

    def run(images: Array) -> dict[str, Array]:
        try:
            return dict(zip(outputs, session.run(outputs, {name: images.astype(dtype)}), strict=True))
        except Exception as error:
            raise ConfigError(f"{path} does not take images of shape {list(images.shape)}: {first_line(error)}") from error

    return NetworkFile(path, run, height=height, width=width, batch=batch)


def _open_torchscript(path: Path, *, device: str) -> NetworkFile:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would rather have another format; the networks there are come in this one
            network = torch.jit.load(str(path), map_location="cpu").eval().to(device)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"{path} is no TorchScript network: {first_line(error)}; write it with torch.jit.trace(...).save, or export ONNX") from error

    @torch.inference_mode()
    def run(images: Array) -> dict[str, Array]:
        try:
            found: Any = network(torch.from_numpy(images).to(device))
        except RuntimeError as error:
            raise ConfigError(f"{path} does not take images of shape {list(images.shape)}: {_last_line(error)}") from error
        parts = found if isinstance(found, tuple | list) else [found]
        return {str(number): part.float().cpu().numpy() for number, part in enumerate(parts)}

    return NetworkFile(path, run)


def _fixed(side: object) -> int | None:
    return side if isinstance(side, int) else None


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
