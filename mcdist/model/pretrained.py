"""Pretrained weights from a file, under the names their publishers gave them. Loading executes no code from the file."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mcdist.errors import ConfigError

PREFIXES = ("module.encoder_q.", "module.", "backbone.", "model.", "encoder.")
"""MoCo, DataParallel and the like put these before the network's own names."""

CLASSIFIER = ("fc.", "_fc.", "_conv_head.", "_bn1.", "classifier.", "head.")
"""Parts of a classification network that a dense one does not use; they may be absent from the file or differ."""


def load_weights(network: nn.Module, *, path: Path, what: str, convert: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None) -> None:
    """Copy the file's tensors into `network`; its classifier aside, every parameter must be there with the right shape.

    `convert`: what turns the file's names and shapes into the network's, where they differ.

    Raises:
        ConfigError: no such file, a file that is no weights file, missing names or other shapes.
    """
    given = _strip(_read(path, what=what))
    given = given if convert is None else convert(given)
    wanted = network.state_dict()
    needed = {name for name in wanted if not name.startswith(CLASSIFIER) and not name.endswith("num_batches_tracked")}
    missing = sorted(needed - given.keys())
    if missing:
        raise ConfigError(f"{what} lacks {len(missing)} of the network's {len(needed)} tensors, {missing[0]} first; is it for another backbone?")
    wrong = [name for name in sorted(needed) if given[name].shape != wanted[name].shape]
    if wrong:
        raise ConfigError(
            f"{what}: {wrong[0]} has shape {list(given[wrong[0]].shape)}, the network wants {list(wanted[wrong[0]].shape)}; is it for another backbone?"
        )
    network.load_state_dict({name: given[name] for name in needed}, strict=False)


def _read(path: Path, *, what: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"{what} wants a weights file at {path}, there is none")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        raise ConfigError(f"{what} is no weights file that can be read without running its code: {str(error).splitlines()[0]}") from error
    except Exception as error:  # torch.load raises pickle.UnpicklingError, which would be this file's only use of pickle
        raise ConfigError(f"{what} is refused: it holds more than tensors ({type(error).__name__}); save it as .safetensors") from error
    for wrapper in ("state_dict", "model"):
        content = content[wrapper] if isinstance(content.get(wrapper), dict) else content
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _strip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return tensors
