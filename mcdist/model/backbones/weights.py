"""Weights from a file, under the names their publishers gave them. Loading executes no code from the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mcdist.errors import ConfigError

Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""Turns a file's names and shapes into a network's own."""

WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher", "student")
"""Entries of a file that hold the tensors, the outer ones first. Of a teacher and its student the teacher is taken, as its authors evaluate it."""

PREFIXES = (
    "module.",
    "_orig_mod.",
    "encoder_q.",
    "model_q.",
    "base_encoder.",
    "teacher.",
    "student.",
    "backbone.",
    "model.",
    "encoder.",
)
"""MoCo, DINO, DataParallel and the like put these before the network's own names. Names without the prefix are those of other parts."""

UNUSED = ("fc.", "_fc.", "_conv_head.", "_bn1.", "classifier.", "head.", "head_dist.", "fc_norm.", "attn_pool.", "mask_token", "decoder")
"""Parts of published networks that a dense one does not use (classifiers, decoders of masked patches): they may be absent from the file or differ."""

NAMED = 3
"""Names that a message lists at most."""


def load_weights(network: nn.Module, *, path: Path, what: str, convert: Convert | None = None, also: tuple[str, ...] = ()) -> bool:
    """Copy the file's tensors into `network`: all of its parameters or none, classifiers aside.

    Args:
        network: changed in place.
        path: a .safetensors file, or one of torch.save with tensors in (nested) dictionaries.
        what: the setting that names the file, for messages.
        convert: for files whose names and shapes differ from the network's.
        also: beginnings of names that are loaded too where the file has them, though they are UNUSED elsewhere.

    Returns:
        Whether the file has all of `also`, in the network's shapes; where it lacks one, none of them is loaded.

    Raises:
        ConfigError: no such file, a file without tensors or with more than tensors, or names and shapes that are not the network's.
    """
    expected = network.state_dict()
    given = _without_prefixes(_read(path, what=what), own=expected.keys())
    given = given if convert is None else convert(given)
    tensors = {name for name in expected if not name.endswith("num_batches_tracked")}
    needed = {name for name in tensors if not name.startswith(UNUSED)}
    wanted = {name for name in tensors if also and name.startswith(also)}
    has_all = all(name in given and given[name].shape == expected[name].shape for name in wanted)
    needed |= wanted if has_all else set()
    _check(given, expected=expected, needed=needed, what=what)
    network.load_state_dict({name: given[name] for name in needed}, strict=False)
    return has_all


def _check(given: dict[str, Tensor], *, expected: dict[str, Tensor], needed: set[str], what: str) -> None:
    """ConfigError unless the file has every needed tensor in its shape, and nothing that the network does not know."""
    missing = sorted(needed - given.keys())
    unexpected = sorted(name for name in given.keys() - expected.keys() if not name.startswith(UNUSED))
    problems = []
    if missing:
        problems.append(f"lacks {len(missing)} of the network's {len(needed)} tensors ({_listed(missing)})")
    if unexpected:
        problems.append(f"has {len(unexpected)} tensors that the network does not ({_listed(unexpected)})")
    if problems:
        raise ConfigError(f"{what} {' and '.join(problems)}; is it for another backbone?")
    wrong = [name for name in sorted(needed) if given[name].shape != expected[name].shape]
    if wrong:
        name = wrong[0]
        raise ConfigError(
            f"{what} has {len(wrong)} tensors of another shape: {name} is {list(given[name].shape)} there and {list(expected[name].shape)} in the network; "
            "is it for another backbone?"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _read(path: Path, *, what: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"{what}: there is no file {path}; give the path of a .pth or .safetensors file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise ConfigError(f"{what} is no weights file that can be read without running its code: {str(error).splitlines()[0]}") from error
    except Exception as error:  # torch.load raises pickle.UnpicklingError, which would be this file's only use of pickle
        raise ConfigError(f"{what} is refused: it holds more than tensors ({type(error).__name__}); save it as .safetensors") from error
    return _tensors(content, what=what)


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
