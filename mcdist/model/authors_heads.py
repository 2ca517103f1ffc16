"""Heads in a checkpoint of the paper's authors: decoder, embedding and saliency head of its query model, under the names of our encoder.

The backbone beside them is a layout like any other (`backbones.layouts`). The authors' code was never read: the names are those of torchvision's
DeepLabV3 head, and what is only assumed about them is in docs/backbones.md. So nothing is guessed: a name that is not known, or a shape that is
another one, refuses the whole file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mcdist.errors import ConfigError
from mcdist.model.backbones.layouts import nearest, recognise
from mcdist.model.backbones.weights import listed, read_tensors

QUERY = "model_q."
OTHERS = ("model_k.", "queue")
"""Beginnings of what evaluation does not need: the key model, the queue and its pointer."""

RENAMES = (
    (r"^(decoder|classifier)\.0\.", "decoder.0."),
    (r"^(decoder|classifier)\.1\.weight$", "decoder.1.0.weight"),
    (r"^(decoder|classifier)\.2\.", "decoder.1.1."),
    (r"^((decoder|classifier)\.4|head)\.(weight|bias)$", r"embedding.\3"),
    (r"^(classification|saliency)_head\.(weight|bias)$", r"saliency.\2"),
)
"""torchvision's DeepLabHead is a sequence: pyramid, 3 x 3 convolution, its norm, ReLU, and the last 1 x 1 convolution, which may have a name of its own."""

HEADS = ("decoder.", "embedding.", "saliency.")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class AuthorsHeads:
    """`tensors` under the encoder's names, and how many of the file's were `left_out` by the beginning of their names."""

    tensors: dict[str, Tensor]
    left_out: dict[str, int]

    @property
    def embedding_dim(self) -> int:
        """Channels of the embedding."""
        return self.tensors["embedding.weight"].shape[0]

    @property
    def embedding_bias(self) -> bool:
        """Whether the embedding has a bias."""
        return "embedding.bias" in self.tensors

    @property
    def decoder_width(self) -> int:
        """Channels of the decoder."""
        return self.tensors["decoder.1.0.weight"].shape[0]


def read_authors_heads(path: Path, *, what: str) -> AuthorsHeads:
    """The heads in the file. A saliency head without a bias gets one of zero, which is the same function.

    Raises:
        ConfigError: no such file, one that could run code, one of another layout, tensors of no known name, or a head that is there twice or not at all.
    """
    tensors = read_tensors(path, what=what)
    query = {name.removeprefix(QUERY): tensor for name, tensor in tensors.items() if name.startswith(QUERY)}
    if not query:
        layout = recognise(tensors.keys()) or nearest(tensors.keys())
        raise ConfigError(
            f"{what} is no checkpoint of MaskContrast's authors: none of its {len(tensors)} names begins with {QUERY} as "
            f"{QUERY}backbone.conv1.weight does; they are like those of {layout.name}: weights of a backbone alone are given as model.weights=PATH"
        )
    left_out = {other: sum(name.startswith(other) for name in tensors) for other in OTHERS}
    foreign = sorted(name for name in tensors if not name.startswith((QUERY, *OTHERS)))
    heads, unknown = _renamed({name: tensor for name, tensor in query.items() if not name.startswith("backbone.")}, what=what)
    problems = [f"{len(names)} tensors of no known name ({listed(names)})" for names in [sorted([*foreign, *unknown])] if names]
    lacks = [name for name in ("decoder.1.0.weight", "embedding.weight", "saliency.weight") if name not in heads]
    problems += [f"no {' and no '.join(lacks)} (of our names)"] if lacks else []
    if problems:
        raise ConfigError(f"{what} has {' and '.join(problems)}; its heads are of another architecture than docs/backbones.md describes, and none is loaded")
    heads.setdefault("saliency.bias", torch.zeros(heads["saliency.weight"].shape[0]))
    return AuthorsHeads(heads, left_out)


def load_heads(encoder: nn.Module, heads: AuthorsHeads, *, what: str) -> None:
    """Copy all of the heads' tensors into the encoder, or none.

    Raises:
        ConfigError: names or shapes are not the encoder's; they are listed.
    """
    own = {name: tensor for name, tensor in encoder.state_dict().items() if name.startswith(HEADS)}
    needed = {name for name in own if not name.endswith(COUNTER)}
    missing, unexpected = sorted(needed - heads.tensors.keys()), sorted(heads.tensors.keys() - own.keys())
    wrong = [name for name in sorted(needed & heads.tensors.keys()) if heads.tensors[name].shape != own[name].shape]
    problems = [
        *([f"lacks {len(missing)} of the heads' {len(needed)} tensors ({listed(missing)})"] if missing else []),
        *([f"has {len(unexpected)} that the encoder does not ({listed(unexpected)})"] if unexpected else []),
        *(f"has {name} of shape {list(heads.tensors[name].shape)}, the encoder {list(own[name].shape)}" for name in wrong[:1]),
    ]
    if problems:
        raise ConfigError(f"{what} {' and '.join(problems)}; nothing is loaded: a part of the heads, or others, would compute something else")
    encoder.load_state_dict({name: tensor for name, tensor in heads.tensors.items() if name in own}, strict=False)


def _renamed(tensors: dict[str, Tensor], *, what: str) -> tuple[dict[str, Tensor], list[str]]:
    """(tensors under our names, names that are not known). ConfigError where two of the file's are one of ours."""
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        ours = next((re.sub(pattern, new, name) for pattern, new in RENAMES if re.match(pattern, name)), "")
        if not ours:
            unknown.append(f"{QUERY}{name}")
        elif ours in renamed:
            raise ConfigError(f"{what} has {ours} (of our names) twice, once as {QUERY}{name}; one of the two is another network's, and none is loaded")
        else:
            renamed[ours] = tensor
    return renamed, unknown
