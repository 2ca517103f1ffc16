"""Weights from a file, under the names their publishers gave them (`layouts`). Loading executes no code from the file."""

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mcdist.errors import ConfigError, first_line
from mcdist.model.backbones.layouts import Layout, nearest, recognise

Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""Turns a file's names and shapes into a network's own."""

WRAPPERS = ("state_dict", "model_state_dict", "classy_state_dict", "base_model", "model", "trunk", "teacher", "student")
"""Entries of a file that hold the tensors, the outer ones first. Of a teacher and its student the teacher is taken, as its authors evaluate it."""

WRAPPED = ("module.", "_orig_mod.")
"""DataParallel and torch.compile put these before every name."""

PREFIXES = (*WRAPPED, "teacher.", "student.", "backbone.", "model.", "encoder.")
"""Beginnings that a file of no particular layout may have. Names without the prefix are those of other parts."""

_SCALAR = numpy.float64().__reduce__()[0]
HARMLESS: list[Any] = [
    argparse.Namespace,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    numpy.dtype,
    *(type(numpy.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
]
"""Data that training scripts keep beside the weights (their options, a best accuracy), which runs no code when it is read."""

UNUSED = ("fc.", "_fc.", "_conv_head.", "_bn1.", "classifier.", "head.", "head_dist.", "fc_norm.", "attn_pool.", "mask_token", "decoder")
"""Parts of published networks that a dense one does not use (classifiers, decoders of masked patches): they may be absent from the file or differ."""

NAMED = 3
"""Names that a message lists at most."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: the file's layout, None where only the names were the network's; and whether all that was asked for `also` was among it."""

    layout: Layout | None
    has_all: bool


def load_weights(network: nn.Module, *, path: Path, what: str, convert: Convert | None = None, also: tuple[str, ...] = ()) -> Loaded:
    """Copy the file's tensors into `network`: all of its parameters or none, classifiers aside.

    Args:
        network: changed in place.
        path: a .safetensors file, or one of torch.save with tensors in (nested) dictionaries.
        what: the setting that names the file, for messages.
        convert: for files whose names and shapes still differ from the network's when their layout has been translated.
        also: beginnings of names that are loaded too where the file has them, though they are UNUSED elsewhere.

    Returns:
        The layout, and whether the file has all of `also` in the network's shapes; where it lacks one, none of them is loaded.

    Raises:
        ConfigError: no such file, a file without tensors or with more than tensors, names and shapes that are not the network's, or weights of a
            network that computes something else.
    """
    expected = network.state_dict()
    published = read_tensors(path, what=what)
    layout = recognise(published.keys()) or recognise(_without_prefixes(published, own=expected.keys()).keys())
    given = _without_prefixes(published, own=expected.keys()) if layout is None else _translated(layout, published, own=expected.keys())
    given = _fitted(given if convert is None else _converted(given, convert=convert, what=what), expected=expected)
    tensors = {name for name in expected if not name.endswith("num_batches_tracked")}
    needed = {name for name in tensors if not name.startswith(UNUSED)}
    wanted = {name for name in tensors if also and name.startswith(also)}
    has_all = all(name in given and given[name].shape == expected[name].shape for name in wanted)
    needed |= wanted if has_all else set()
    misfit = layout.misfit(given, network) if layout is not None and layout.misfit is not None else ""
    if misfit:
        raise ConfigError(f"{what} does not fit: {misfit}")
    _check(given, expected=expected, needed=needed, what=what, names=published.keys(), layout=layout)
    network.load_state_dict({name: given[name] for name in needed}, strict=False)
    return Loaded(layout, has_all)


def read_tensors(path: Path, *, what: str) -> dict[str, Tensor]:
    """The named tensors of a .safetensors file or one of torch.save, without wrappers and without what DataParallel or torch.compile put before every name.

    Raises:
        ConfigError: no such file, a file without tensors, or one that holds more than tensors and plain options, which could run code.
    """
    return _unwrapped(_read(path, what=what))


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPED * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _translated(layout: Layout, tensors: dict[str, Tensor], *, own: Collection[str]) -> dict[str, Tensor]:
    """Under the network's names. A plain layout may be inside of prefixes, and some have `backbone.` and the like left in the network's part."""
    inside = tensors if layout.recognises(tensors.keys()) else _without_prefixes(tensors, own=own)
    return _without_prefixes(layout.translate(inside, own=own), own=own)


def _converted(tensors: dict[str, Tensor], *, convert: Convert, what: str) -> dict[str, Tensor]:
    """`convert` is somebody else's; what it cannot take is an error of the file."""
    try:
        return convert(tensors)
    except (RuntimeError, ValueError, KeyError, AssertionError, AttributeError, IndexError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{what} cannot be converted to this network, or its position embeddings to this size ({reason}); is it for another backbone?"
        ) from error


def _fitted(given: dict[str, Tensor], *, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that differ from the network's by axes of length 1 only, in the network's shape."""

    def fitted(name: str, tensor: Tensor) -> Tensor:
        wanted = expected[name].shape if name in expected else tensor.shape
        same = [length for length in tensor.shape if length != 1] == [length for length in wanted if length != 1]
        return tensor.reshape(wanted) if same else tensor

    return {name: fitted(name, tensor) for name, tensor in given.items()}


def _check(given: dict[str, Tensor], *, expected: dict[str, Tensor], needed: set[str], what: str, names: Collection[str], layout: Layout | None) -> None:
    """ConfigError unless the file has every needed tensor in its shape, and nothing that the network does not know."""
    missing = sorted(needed - given.keys())
    unexpected = sorted(name for name in given.keys() - expected.keys() if not name.startswith(UNUSED))
    problems = []
    if missing:
        problems.append(f"lacks {len(missing)} of the network's {len(needed)} tensors ({listed(missing)})")
    if unexpected:
        problems.append(f"has {len(unexpected)} tensors that the network does not ({listed(unexpected)})")
    if problems:
        raise ConfigError(f"{what} {' and '.join(problems)}; {_about_layout(names, layout=layout)}")
    wrong = [name for name in sorted(needed) if given[name].shape != expected[name].shape]
    if wrong:
        name = wrong[0]
        raise ConfigError(
            f"{what} has {len(wrong)} tensors of another shape: {name} is {list(given[name].shape)} there and {list(expected[name].shape)} in the network; "
            "is it for another backbone?"
        )


def _about_layout(names: Collection[str], *, layout: Layout | None) -> str:
    """What to look at: the backbone, or the file's names where they are of no known layout."""
    if layout is not None:
        return f"its names are those of {layout.name}: is it for another backbone?"
    near = nearest(names)
    return f"its names ({min(names)}, ...) are of no known layout, the nearest is {near.name} ({near.example}): is it for another backbone?"


def listed(names: Sequence[str]) -> str:
    """The first few, for a message."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _read(path: Path, *, what: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"{what}: there is no file {path}; give the path of a .pth or .safetensors file")
    try:
        with torch.serialization.safe_globals(HARMLESS):
            content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise ConfigError(f"{what} is no weights file that can be read without running its code: {first_line(error)}") from error
    except Exception as error:  # torch.load raises pickle.UnpicklingError, which would be this file's only use of pickle
        raise ConfigError(
            f"{what} is refused: it holds more than tensors ({_refused_in(str(error))}), which could run code; if you trust it, load it elsewhere and save "
            "its state_dict alone as .safetensors (docs/backbones.md has the line)"
        ) from error
    return _tensors(content, what=what)


def _refused_in(message: str) -> str:
    """The name that torch refused, from its message."""
    found = re.search(r"GLOBAL ([\w.]+)|type ([\w.]+)|class '([\w.]+)'", message)
    return next((name for name in found.groups() if name), "a pickle") if found else "a pickle"


def _tensors(content: Any, *, what: str) -> dict[str, Tensor]:
    """The named tensors of a file's content, however many wrappers are around them."""
    while isinstance(content, dict):
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        raise ConfigError(f"{what} must hold a dictionary of named tensors, got {_kind(content)}; save the network's state_dict() instead")
    tensors = {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    if not tensors:
        raise ConfigError(f"{what} must hold a dictionary of named tensors, got one of {len(content)} entries without any; save the network's state_dict()")
    return tensors


def _kind(content: Any) -> str:
    return f"a tensor of shape {list(content.shape)}" if isinstance(content, Tensor) else f"a {type(content).__name__}"


def _without_prefixes(tensors: dict[str, Tensor], *, own: Any) -> dict[str, Tensor]:
    """The names without PREFIXES, one after another, as far as the network has no names `own` that begin so."""
    foreign = [prefix for prefix in PREFIXES if not any(name.startswith(prefix) for name in own)]
    while found := next((prefix for prefix in foreign if any(name.startswith(prefix) for name in tensors)), None):
        tensors = {name.removeprefix(found): tensor for name, tensor in tensors.items() if name.startswith(found)}
    return tensors
