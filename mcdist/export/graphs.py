"""Graphs of an encoder for any number and size of photos, ONNX and torch.export; each is compared with the encoder before it is kept."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.errors import MachineError, MissingExtraError
from mcdist.export.pixel_encoder import PixelEncoder
from mcdist.model.backbones.rotary import free_rotary_places

TOLERANCE = 1e-4
"""Of the largest difference, relative to the largest value of the output."""

SAME_MIN = 0.999
"""Share of pixels that must have the same saliency sign and the same group."""

CELLS = ((6, 6), (9, 5), (14, 14), (12, 17), (20, 15))
"""Five sizes, in multiples of what a side must be a multiple of."""

_EXAMPLE = (2, 5, 7)
"""Photos, and cells along each side, of the example that is traced: none of them 0, 1 or equal."""

Runs = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a graph compares with the encoder over five sizes: the largest relative difference, and the share of pixels of the same class."""

    difference_max: float
    same_share: float
    sizes: tuple[tuple[int, int], ...]


def trace(encoder: PixelEncoder) -> Any:
    """The encoder as a torch.export program, with free numbers of photos, rows and columns.

    Raises:
        MachineError: the backbone cannot be traced for every size.
    """
    free_rotary_places(encoder)
    step = encoder.multiple_px
    num, rows, columns = _EXAMPLE
    example = torch.rand(num, 3, rows * step, columns * step)
    free = {0: torch.export.Dim("batch"), 2: step * torch.export.Dim("rows"), 3: step * torch.export.Dim("columns")}
    try:
        with _quietly():
            return torch.export.export(encoder, (example,), dynamic_shapes={"pixels": free})
    except Exception as error:  # torch.export raises what its compiler raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MachineError(f"this backbone has no graph that takes every size of photo ({reason[:200]}); export the folder alone") from error


def write_program(program: Any, path: Path) -> Runs:
    """Write the torch.export program; returns what the file computes."""
    with _quietly():
        torch.export.save(program, path)
        module = torch.export.load(path).module()
    return lambda pixels: module(pixels)


def write_onnx(program: Any, path: Path, *, outputs: Sequence[str]) -> Runs:
    """Write the program as ONNX, in one file; returns what onnxruntime computes with it on the CPU.

    Raises:
        MissingExtraError: onnxscript or onnxruntime is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("an ONNX graph needs onnxscript and onnxruntime; pip install 'mcdist[onnx]'") from error
    with _quietly():
        made = torch.onnx.export(program, dynamo=True, input_names=["pixels"], output_names=list(outputs), verbose=False)
        assert made is not None
        made.save(path, external_data=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: [torch.from_numpy(output) for output in session.run(None, {"pixels": pixels.numpy()})]


@torch.no_grad()
def check(runs: Runs, *, encoder: PixelEncoder, photos: Sequence[Float[Tensor, "3 _ _"]], what: str) -> Agreement:
    """Compare a graph with the encoder on photos (in 0..1) resized to the five sizes.

    Raises:
        MachineError: it fails at a size, differs by more than TOLERANCE, or gives another class at more pixels than SAME_MIN allows.
    """
    differences, same, total, sizes = [0.0], 0, 0, []
    for number, (rows, columns) in enumerate(CELLS):
        size = (rows * encoder.multiple_px, columns * encoder.multiple_px)
        pixels = interpolate(photos[number % len(photos)][None], size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1).contiguous()
        want = encoder(pixels)
        try:
            got = runs(pixels)
        except Exception as error:  # each runtime raises its own
            raise MachineError(
                f"the {what} does not take photos of {size[1]} x {size[0]} px: this backbone was traced for one size only; export without it"
            ) from error
        differences += [float((one - other).abs().max() / other.abs().max().clamp_min(1e-12)) for one, other in zip(got, want, strict=True)]
        for name, one, other in list(zip(encoder.outputs, got, want, strict=True))[1:]:
            agree = _classes(name, one, size=size) == _classes(name, other, size=size)
            same, total = same + int(agree.sum()), total + agree.numel()
        sizes.append((size[1], size[0]))
    found = Agreement(max(differences), same / total, tuple(sizes))
    if found.difference_max > TOLERANCE or found.same_share < SAME_MIN:
        raise MachineError(
            f"the {what} differs from the encoder by {found.difference_max:.1e} (allowed: {TOLERANCE:.0e}) and has the same class at "
            f"{100 * found.same_share:.2f} % of pixels (at least {100 * SAME_MIN:.1f}); it was not kept, please report the backbone"
        )
    return found


def _classes(name: str, output: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Of every pixel: whether it is salient, or its likeliest group of all sets."""
    pixels = interpolate(output, size, mode="bilinear", align_corners=False)
    return pixels > 0 if name == "saliency" else pixels.argmax(dim=1)


@contextlib.contextmanager
def _quietly() -> Any:
    """Without the exporters' chatter: their warnings are about their own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
